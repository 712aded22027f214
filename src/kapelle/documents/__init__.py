"""Documents from outside, YAML and JSON: limits, places, no aliases; and files that are written whole or not at all."""

from .durable import write_beside_then_rename as write_beside_then_rename
from .reading import MAX_DOCUMENT_BYTES as MAX_DOCUMENT_BYTES
from .reading import MAX_YAML_CHARS as MAX_YAML_CHARS
from .reading import STDIN as STDIN
from .reading import describe_validation_error as describe_validation_error
from .reading import find_place as find_place
from .reading import parse_json as parse_json
from .reading import parse_yaml as parse_yaml
from .reading import read_stream as read_stream
from .reading import read_text as read_text
from .reading import write_yaml as write_yaml
