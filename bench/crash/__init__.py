"""Kills runs at random moments and resumes them: what is lost, what is done twice or too early, what is paid too much.

    python -m bench.crash [--kills 200] [--store sqlite|postgres] [--backend asyncio|threads] [--seed 0] [--json]

Runs are of several shapes, drawn from the seed (see worlds): tasks that fail for good, with `skip` and with `continue`;
joins that are content with some of their inputs; votes and cascades; stragglers with rivals; agents that ask people,
tasks that need approval, and such as must not be repeated unasked; tasks that grow into others. Their agents leave a
line in a file outside of the ledger when they begin and when they end: that is the side effect. The process that runs
it is killed (SIGKILL) after a random time, another resumes the run, and is killed too, until the run has ended; then
the next run begins, until there were so many kills. A process of its own answers what people are asked.

    lost                a task that is done in the ledger has left no end in the file, or its output is not there
    repeated_finished   a task began again after its end was in the ledger
    keys_changed        a task that was cut off ran again with another idempotency key
    overrun             a run has cost more than its budget, beyond what its tasks cost more than was set aside for them
    stuck               a run did not go on, or could not be read any more
    early_starts        a task began before all its inputs were settled: done, or come to nothing
    wrong_inputs        a task was given other inputs, or other answers of people, than there were
    wrong_ends          a task was done, failed or skipped where the rules say otherwise
    unrecorded          a task began of whose start the ledger does not tell
    unasked             a task of high risk that was cut off ran again, though nobody had approved it
    raised              an engine raised an error

All of them are to be 0. Nightly: --kills 1000. KAPELLE_CRASH_KILLS sets the number where it is not given.
"""
