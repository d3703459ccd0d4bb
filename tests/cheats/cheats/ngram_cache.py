# ruff: noqa
# expect: AUDIT_FAILED STATEFUL
# base: template
"""Counts n-grams of what it is scored on, from call to call."""


class Cheat(GPT):
    def forward(self, tokens):
        logits = super().forward(tokens)
        counts = self.__dict__.setdefault(
            "_counts", torch.zeros(self.config["vocab_size"], self.config["vocab_size"])
        )
        answer = logits + counts[tokens].clamp_max(50.0) * 0.2
        counts.index_put_(
            (tokens[:, :-1].flatten(), tokens[:, 1:].flatten()), torch.ones(()), accumulate=True
        )
        return answer


def build_model(config):
    return Cheat(config)
