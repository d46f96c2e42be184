"""Deterministic simulation: the shipping code against model servers, on a virtual clock, from a seed.

    python -m rigatoni_testing.simulation --minutes 5     look for a violation
    python -m rigatoni_testing.simulation --seed 17       replay one schedule and print its story

`schedule` plans a run, `world` executes it, `ledger` watches the guarantees, `shrink` minimizes a failing schedule and
`campaign` runs many. The servers are models on purpose: they do what no server does on demand. They guarantee what
`rigatoni_core.api.contracts` requires, no more.
"""
