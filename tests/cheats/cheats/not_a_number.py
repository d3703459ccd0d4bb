# ruff: noqa
# expect: AUDIT_FAILED NOT_FINITE
# base: template
"""NaN, which compares as smaller than nothing and larger than nothing."""


class Cheat(GPT):
    def forward(self, tokens):
        return super().forward(tokens) * float("nan")


def build_model(config):
    return Cheat(config)
