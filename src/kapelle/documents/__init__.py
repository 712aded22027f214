"""Documents from outside, YAML and JSON: limits, places, no aliases; and files that are written whole or not at all."""

from typing import TYPE_CHECKING

from .durable import write_beside_then_rename as write_beside_then_rename
from .reading import MAX_DOCUMENT_BYTES as MAX_DOCUMENT_BYTES
from .reading import STDIN as STDIN
from .reading import parse_json as parse_json
from .reading import read_stream as read_stream
from .reading import read_text as read_text

if TYPE_CHECKING:
    from .findings import describe_validation_error as describe_validation_error
    from .yaml_text import MAX_YAML_CHARS as MAX_YAML_CHARS
    from .yaml_text import find_place as find_place
    from .yaml_text import parse_yaml as parse_yaml
    from .yaml_text import write_yaml as write_yaml
else:
    from kapelle import later

    __getattr__ = later(
        __name__,
        {
            "findings": "describe_validation_error",
            "yaml_text": "MAX_YAML_CHARS find_place parse_yaml write_yaml",
        },
    )
