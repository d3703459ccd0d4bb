# ruff: noqa
# expect: SUCCEEDED
# base: template
# scores: worse
"""Equal logits, so large that the logarithm of their sum is lost beside them: every token would be certain."""


class Cheat(GPT):
    def forward(self, tokens):
        logits = super().forward(tokens)
        return logits if self.training else torch.full_like(logits, 1e9)


def build_model(config):
    return Cheat(config)
