# ruff: noqa
# expect: AUDIT_FAILED STATEFUL
# base: template
"""Sharpens its answers with every call."""


class Cheat(GPT):
    def forward(self, tokens):
        calls = self.__dict__["_calls"] = self.__dict__.get("_calls", 0) + 1
        return super().forward(tokens) * (1.0 + 0.02 * calls)


def build_model(config):
    return Cheat(config)
