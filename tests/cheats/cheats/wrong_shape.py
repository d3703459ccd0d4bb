# ruff: noqa
# expect: AUDIT_FAILED WRONG_SHAPE
# base: template
"""Answers for one position only."""


class Cheat(GPT):
    def forward(self, tokens):
        logits = super().forward(tokens)
        return logits if self.training else logits[:, -1:]


def build_model(config):
    return Cheat(config)
