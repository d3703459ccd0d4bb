"""English words that carry no meaning of their own; the tokenizer drops them.

Contraction fragments stand here too, because text is split at the apostrophe ("don't" gives "don" and "t").
"""

from __future__ import annotations

_PRONOUNS = """
    he she it we you they me him her us them my your his its our their mine yours hers ours theirs
    myself yourself himself herself itself ourselves yourselves themselves
    this that these those who whom whose which what one ones
"""
_VERBS = """
    am is are was were be been being have has had having do does did doing done
    will would shall should can could may might must ought need get got getting gets
"""
_CONNECTIVES = """
    a an the and or but nor if then else than so because as until while although though unless since
    of at by for with about against between into through during before after above below to from up down
    in out on off over under again further once upon within without toward towards onto across along via per
"""
_ADVERBS = """
    here there when where why how all any both each few more most other others some such no not only own same
    too very just also now ever never yet still even much many quite rather
"""
_FRAGMENTS = """
    ll re ve don didn doesn isn aren wasn weren hasn haven hadn won wouldn shouldn couldn mustn needn mightn
    shan ain
    dont didnt doesnt isnt arent wasnt werent hasnt havent hadnt wont wouldnt shouldnt couldnt cannot cant
    im ive youre youve theyre theyve weve thats
"""

STOP_WORDS: frozenset[str] = frozenset(f"{_PRONOUNS} {_VERBS} {_CONNECTIVES} {_ADVERBS} {_FRAGMENTS}".split())
