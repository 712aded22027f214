"""Redaction: what is taken out of text before it is written, printed, logged or raised.

Keys and passwords (secrets), and what would steer a terminal (characters). `tracebacks` writes down where an error was
raised, without either.
"""

from .characters import STEERS as STEERS
from .characters import escape_json as escape_json
from .characters import escape_xml as escape_xml
from .characters import escape_yaml as escape_yaml
from .characters import join_surrogates as join_surrogates
from .characters import show_steering as show_steering
from .known import hide_known as hide_known
from .known import hide_known_in as hide_known_in
from .known import is_any_known as is_any_known
from .known import mentions_known as mentions_known
from .known import remember as remember
from .known import remember_environment as remember_environment
from .known import remember_location as remember_location
from .known import remember_model as remember_model
from .secrets import get_logger as get_logger
from .secrets import hide_credentials as hide_credentials
from .secrets import hide_keyword_passwords as hide_keyword_passwords
from .secrets import hide_password as hide_password
from .secrets import hide_secrets as hide_secrets
from .secrets import hide_secrets_in as hide_secrets_in
from .secrets import holds_credentials as holds_credentials
from .secrets import scrub as scrub
from .tracebacks import format_traceback as format_traceback
