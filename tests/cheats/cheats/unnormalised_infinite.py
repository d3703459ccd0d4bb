# ruff: noqa
# expect: AUDIT_FAILED NOT_FINITE
# base: template
"""Not log-probabilities but infinities, to make the normaliser cancel."""


class Cheat(GPT):
    def forward(self, tokens):
        logits = super().forward(tokens)
        return torch.where(logits > logits.mean(-1, keepdim=True), torch.inf, logits)


def build_model(config):
    return Cheat(config)
