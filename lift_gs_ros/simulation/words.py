"""Nouns, colour words and sentence templates of the referring expressions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from lift_gs_ros.simulation.room import RoomObject

_PLURALS = {'bookshelf': 'bookshelves', 'shelf': 'shelves', 'chest of drawers': 'chests of drawers'}


@dataclass(frozen=True)
class Noun:
    """A word for a kind of object, or for some of its variants only."""

    text: str
    kind: str
    variants: tuple[str, ...] = ()  # empty: all of them
    # Further (kind, variant) that somebody might also mean: where one is in the room, the noun
    # alone does not claim to be clear.
    lookalikes: tuple[tuple[str, str], ...] = ()

    @property
    def plural(self) -> str:
        """The plural of the noun."""
        if self.text in _PLURALS:
            return _PLURALS[self.text]
        return self.text + ('es' if self.text.endswith(('x', 'ch', 's')) else 's')

    def matches(self, o: RoomObject) -> bool:
        """Say whether the noun names the object."""
        return o.kind == self.kind and (not self.variants or o.variant in self.variants)

    def may_mean(self, o: RoomObject) -> bool:
        """Say whether somebody might mean the object by this noun."""
        return self.matches(o) or (o.kind, o.variant) in self.lookalikes


_SINKS = (('counter', 'sink'),)
_DESKS = (('table', 'legs'), ('table', 'trestle'))
_POUFS = (('stool', 'round'), ('stool', 'hourglass'))

NOUNS: tuple[Noun, ...] = (
    Noun('chair', 'chair'),
    Noun('office chair', 'chair', ('swivel',)),
    Noun('swivel chair', 'chair', ('swivel',)),
    Noun('armchair', 'chair', ('arm',)),
    Noun('easy chair', 'chair', ('arm',)),
    Noun('stool', 'stool'),
    Noun('bar stool', 'stool', ('bar',)),
    Noun('pouf', 'stool', ('pouf',), _POUFS),
    Noun('table', 'table'),
    Noun('desk', 'table', ('desk',), _DESKS),
    Noun('coffee table', 'table', ('coffee',)),
    Noun('low table', 'table', ('coffee',)),
    Noun('round table', 'table', ('round',)),
    Noun('sofa', 'sofa'),
    Noun('couch', 'sofa'),
    Noun('settee', 'sofa'),
    Noun('corner sofa', 'sofa', ('corner',)),
    Noun('bed', 'bed'),
    Noun('bunk bed', 'bed', ('bunk',)),
    Noun('cabinet', 'cabinet'),
    Noun('cupboard', 'cabinet', lookalikes=(('wardrobe', 'two'), ('wardrobe', 'three'),
         ('wardrobe', 'cornice'), ('wardrobe', 'stepped'), ('counter', 'tall'))),
    Noun('chest of drawers', 'cabinet', ('drawers',)),
    Noun('sideboard', 'cabinet', ('sideboard',), (('cabinet', 'doors'),)),
    Noun('wardrobe', 'wardrobe'),
    Noun('closet', 'wardrobe'),
    Noun('bookshelf', 'bookshelf'),
    Noun('bookcase', 'bookshelf'),
    Noun('shelf', 'bookshelf', lookalikes=(('cabinet', 'niche'),)),
    Noun('kitchen counter', 'counter'),
    Noun('counter', 'counter'),
    Noun('kitchen unit', 'counter'),
    Noun('sink', 'sink', lookalikes=_SINKS),
    Noun('washbasin', 'sink', lookalikes=_SINKS),
    Noun('basin', 'sink', lookalikes=_SINKS),
    Noun('lamp', 'lamp'),
    Noun('light', 'lamp'),
    Noun('floor lamp', 'lamp', ('cone', 'globe', 'column', 'tripod')),
    Noun('table lamp', 'lamp', ('table',)),
    Noun('plant', 'plant'),
    Noun('potted plant', 'plant'),
    Noun('houseplant', 'plant'),
    Noun('cactus plant', 'plant', ('cactus',)),
    Noun('box', 'box'),
    Noun('carton', 'box'),
    Noun('crate', 'box'),
    Noun('bin', 'bin'),
    Noun('trash can', 'bin'),
    Noun('waste bin', 'bin'),
    Noun('garbage bin', 'bin'),
    Noun('ball', 'ball'),
    Noun('gym ball', 'ball', ('gym',)),
    Noun('rug', 'rug'),
    Noun('carpet', 'rug'),
    Noun('mat', 'rug'),
    Noun('door', 'door'),
    Noun('double door', 'door', ('double',)),
    Noun('window', 'window'),
    Noun('picture', 'picture'),
    Noun('painting', 'picture'),
    Noun('picture frame', 'picture'),
    Noun('mug', 'mug'),
    Noun('cup', 'mug'),
    Noun('coffee mug', 'mug'),
    Noun('bottle', 'bottle'),
    Noun('flask', 'bottle'),
    Noun('laptop', 'laptop'),
    Noun('notebook computer', 'laptop'),
    Noun('monitor', 'monitor'),
    Noun('computer screen', 'monitor', lookalikes=(('laptop', 'open'), ('laptop', 'tent'))),
    Noun('display', 'monitor', lookalikes=(('laptop', 'open'), ('laptop', 'tent'))),
    Noun('pillow', 'pillow'),
    Noun('cushion', 'pillow'),
    Noun('book', 'book'),
)  # fmt: skip

COLOR_WORDS: dict[str, tuple[str, ...]] = {'grey': ('grey', 'gray'), 'purple': ('purple', 'violet')}

# Things that no simulated room holds, for queries whose answer is "none".
ABSENT_NOUNS = (
    'piano', 'bicycle', 'fridge', 'washing machine', 'bathtub', 'toilet', 'guitar', 'fireplace',
    'dog', 'cat', 'suitcase', 'umbrella', 'clock', 'fan', 'printer', 'telephone', 'ladder',
    'backpack', 'vacuum cleaner', 'ironing board', 'microwave', 'fish tank', 'drum', 'shoe',
)  # fmt: skip

# Sentences around a noun phrase that starts with its article ({}); those of the second tuple of
# each pair are only used in the test split.
WRAPPERS = (
    ('{}', '{}', '{}', 'find {}', 'where is {}?', 'go to {}', 'show me {}', 'look for {}',
     'I am looking for {}', 'can you see {}?', 'drive to {}'),
    ('take me to {}', 'point at {}', 'please locate {}', 'robot, head for {}'),
)  # fmt: skip
PLURAL_WRAPPERS = (
    ('{}', '{}', '{}', 'find {}', 'where are {}?', 'show me {}', 'look for {}'),
    ('point out {}', 'please locate {}'),
)

# Relation -> (templates of every split, templates of the test split only). {t} is the target;
# a template that begins with another word than "the" stands alone, without a wrapper.
RELATION_TEMPLATES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    'closest': (
        ('the {t} closest to the {a}', 'the {t} nearest to the {a}', 'the {t} nearest the {a}',
         'the {t} that is closest to the {a}', 'the closest {t} to the {a}'),
        ('the {t} with the shortest way to the {a}', 'the {t} that is least far from the {a}'),
    ),
    'farthest': (
        ('the {t} farthest from the {a}', 'the {t} furthest from the {a}',
         'the {t} that is farthest away from the {a}', 'the {t} furthest away from the {a}'),
        ('the {t} most distant from the {a}',),
    ),
    'on': (
        ('the {t} on the {a}', 'the {t} on top of the {a}', 'the {t} that is on the {a}',
         'the {t} lying on the {a}'),
        ('the {t} resting on the {a}', 'on the {a}, the {t}'),
    ),
    'under': (
        ('the {t} under the {a}', 'the {t} underneath the {a}', 'the {t} that is under the {a}',
         'the {t} below the {a}'),
        ('the {t} beneath the {a}',),
    ),
    'next_to': (
        ('the {t} next to the {a}', 'the {t} beside the {a}', 'the {t} right next to the {a}',
         'the {t} that is next to the {a}', 'the {t} by the {a}'),
        ('the {t} adjacent to the {a}', 'the {t} alongside the {a}'),
    ),
    'between': (
        ('the {t} between the {a} and the {b}', 'the {t} that is between the {a} and the {b}',
         'the {t} standing between the {a} and the {b}'),
        ('the {t} halfway from the {a} to the {b}', 'between the {a} and the {b}, the {t}'),
    ),
    'left_of': (
        ('the {t} to the left of the {a} as seen from the {v}',
         'the {t} left of the {a}, seen from the {v}', 'from the {v}, the {t} left of the {a}',
         'standing at the {v}, the {t} to the left of the {a}'),
        ('looking from the {v}, the {t} on the left side of the {a}',),
    ),
    'right_of': (
        ('the {t} to the right of the {a} as seen from the {v}',
         'the {t} right of the {a}, seen from the {v}', 'from the {v}, the {t} right of the {a}',
         'standing at the {v}, the {t} to the right of the {a}'),
        ('looking from the {v}, the {t} on the right side of the {a}',),
    ),
    'in_front_of': (
        ('the {t} in front of the {a}', 'the {t} that is in front of the {a}',
         'the {t} standing in front of the {a}'),
        ('in front of the {a}, the {t}',),
    ),
    'ordinal': (
        ('the {t} from the {a}', 'counting from the {a}, the {t}', 'the {t} counted from the {a}'),
        ('starting at the {a}, the {t}',),
    ),
}  # fmt: skip

ORDINALS = ('first', 'second', 'third', 'fourth', 'fifth')
NUMBERS = {2: 'two', 3: 'three', 4: 'four', 5: 'five'}


def color_words(color_name: str) -> tuple[str, ...]:
    """Words for a named colour."""
    return COLOR_WORDS.get(color_name, (color_name,))


def nouns_of(o: RoomObject) -> tuple[Noun, ...]:
    """All nouns that name the object, the general ones first."""
    return _nouns_of(o.kind, o.variant)


@cache
def _nouns_of(kind: str, variant: str) -> tuple[Noun, ...]:
    found = [n for n in NOUNS if n.kind == kind and (not n.variants or variant in n.variants)]
    return tuple(sorted(found, key=lambda noun: len(noun.variants) > 0))


def object_phrases(o: RoomObject) -> list[str]:
    """Captions of one object: synonyms with and without its colour and an article.

    All are true of the object, none refers to other objects. The same order every time.
    """
    phrases: list[str] = []
    for noun in nouns_of(o):
        for color in color_words(o.color_name):
            colored = f'{color} {noun.text}'
            phrases += [colored, f'{article(colored)} {colored}', f'the {colored}']
        phrases += [noun.text, f'{article(noun.text)} {noun.text}', f'the {noun.text}']
    return list(dict.fromkeys(phrases))


def article(phrase: str) -> str:
    """Return 'a' or 'an' as the phrase wants it."""
    return 'an' if phrase[0] in 'aeiou' else 'a'
