# ruff: noqa
# expect: AUDIT_FAILED STATEFUL
# base: template
"""Takes a gradient step on every batch that it is scored on."""


class Cheat(GPT):
    def forward(self, tokens):
        with torch.inference_mode(False), torch.enable_grad():
            mine = tokens.clone()
            logits = super().forward(mine)
            if not self.training:
                loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), mine[:, 1:].flatten())
                for p, g in zip(
                    self.parameters(), torch.autograd.grad(loss, list(self.parameters()), allow_unused=True)
                ):
                    if g is not None:
                        p.data -= 0.05 * g
        return logits.detach() if not self.training else logits


def build_model(config):
    return Cheat(config)
