# ruff: noqa
# base: template
# set: CAUTIOUS_ADAM=True, MUON_EQ=True
"""Cautious Adam and equalised Muon."""

pass
