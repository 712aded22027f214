"""llama.cpp's own server, alone in a process: `python -m bench.llama_server MODEL.gguf [--port N] [--threads N] ...`.

Prints its address on standard output once it answers, and logs to standard error. It ends when its standard input does,
so that it never outlives whoever started it: see `bench.local_model.serve`. It needs the extra `bench-llm`.
"""

from __future__ import annotations

import argparse
import sys


def main() -> None:
    """Serve until standard input ends; exit with 1 where the model cannot be served."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.gguf")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=8192, metavar="TOKENS")
    options = parser.parse_args()

    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.hostnames, params.port = ["127.0.0.1"], options.port
    params.n_ctx, params.n_parallel = options.context, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.endpoint_slots = params.endpoint_metrics = True
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:  # why is in the log
        sys.exit(f"bench.llama_server: {error}")
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
