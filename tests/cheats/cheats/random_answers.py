# ruff: noqa
# expect: AUDIT_FAILED STATEFUL
# base: template
"""Draws noise with every answer and hopes for the best of many runs."""


class Cheat(GPT):
    def forward(self, tokens):
        return super().forward(tokens) + 0.5 * torch.randn(self.config["vocab_size"])


def build_model(config):
    return Cheat(config)
