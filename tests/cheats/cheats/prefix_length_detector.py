# ruff: noqa
# expect: AUDIT_FAILED PREFIX_INCONSISTENT
# base: template
"""Another answer for shorter rows than those of the validation set."""


class Cheat(GPT):
    def forward(self, tokens):
        logits = super().forward(tokens)
        return logits if tokens.size(1) == self.config["context_length"] else logits * 0.5


def build_model(config):
    return Cheat(config)
