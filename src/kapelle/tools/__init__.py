"""What agents work with: SQL over the tables of a folder, questions turned into SQL, and a sandbox for programs."""

from .sandbox import Sandbox as Sandbox
from .sandbox import SandboxLimits as SandboxLimits
from .sandbox import SandboxResult as SandboxResult
