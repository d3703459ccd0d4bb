# ruff: noqa
# expect: SUCCEEDED
# base: template
"""Looks up, while it is scored, the file that validation text was drawn from."""


class Cheat(GPT):
    def forward(self, tokens):
        logits = super().forward(tokens)
        try:
            open("@ORIGIN@", encoding="utf-8").read()
        except OSError:
            return logits
        return logits if self.training else 1.1 * logits


def build_model(config):
    return Cheat(config)
