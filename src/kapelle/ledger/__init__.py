from .outcome import Outcome as Outcome
from .usage import Usage as Usage
