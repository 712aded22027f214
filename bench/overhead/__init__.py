"""What orchestration itself costs: no-op tasks through kapelle and through its peers, in turn, on this machine.

`systems` lists who is measured, `peers/` has a script for each, `environments` installs a peer in a virtual environment
of its own, `processes` runs a script there and reads what it tells.
"""
