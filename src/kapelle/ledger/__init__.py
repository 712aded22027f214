from .usage import Usage as Usage
