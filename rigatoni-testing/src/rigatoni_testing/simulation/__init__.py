"""Deterministic simulation: core's real code against model servers, under a virtual clock, by a seed.

    python -m rigatoni_testing.simulation --minutes 5     look for a violation
    python -m rigatoni_testing.simulation --seed 17       replay one schedule and tell its story

`schedule` says what is going to happen, `world` lets it happen, `ledger` watches the promises, `shrink` makes a failing
schedule small, `campaign` runs many. The servers are models on purpose: they do what no server does on demand. What
they promise is what `rigatoni_core.api.contracts` asks for, no more.
"""
