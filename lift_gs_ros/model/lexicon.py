"""English words of requests to a robot, by what they do in a sentence (``phrases.py``)."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*|[,.;:?!()\n]")

DETERMINERS = _words(
    'the a an this these those my your our his her its their some any all every each both no '
    'another'
)
RELATIONS = _words(
    'in on at by near beside besides behind under underneath beneath below above over between '
    'among inside outside within into onto against across along around opposite with without from '
    'to toward towards through beyond past off upon of for as down not is are was were be being '
    "has have had that that's which which's who that where it's "
    'it he she they them him someone somebody'
)
PARTICIPLES = _words(
    'standing sitting lying hanging leaning facing holding containing resting located placed '
    'mounted attached stuck fixed positioned situated put kept left stacked surrounded covered '
    'wearing having touching supporting used adjacent close closer closest near nearer nearest far '
    'farther farthest furthest opposite next seen counted '
    'counting'
)
CONJUNCTIONS = _words('and or plus also then')
COMMANDS = _words(
    'find show bring give get take fetch grab go drive move navigate locate point select highlight '
    'approach visit inspect reach walk run proceed travel grasp carry deliver '
    'sit segment detect look search want need see pick identify mark open close turn tell '
    "where's what's what there there's please can could would you i me we us we'd i'd like am "
    "i'm looking help let let's hey ok okay do does"
)
# "trash can"
ALSO_NOUNS = _words('can point drive move turn mark show help need look search walk run reach visit')
QUANTITIES = _words('one two three four five most many several')  # "one of the chairs"
COMMAND_GROUPS = (
    'where is|where are|what is|what are|what do you see|what can you see|is there|are there|'
    'look for|looking for|search for|go to|drive to|'
    'move to|navigate to|point to|point at|take me to|pick up|look at|go over to|turn to|'
    'head for|head to|head over to|head towards|head toward|come to|stop at|hand me|pass me'
)
ADDRESSED = _words('robot bot buddy assistant')  # "find the mug, robot"
SPATIAL_NOUNS = _words('left right front back top bottom side middle center centre corner end hand')
COPULAS = _words('is are was were be being that which')
DESCRIBING = _words("is are was were it's its")  # "where is" is one command, not among these
PRONOUNS = _words('it they')
TELLING = _words("there there's")
ENDS = ('.', '!', '?', '\n')
TRAILING = _words('right directly just immediately very most also too here there now please only')
GROUPS = re.compile(r'\b(?:' + COMMAND_GROUPS.replace(' ', r'\s+') + r')\b', re.IGNORECASE)
RELATION_GROUPS = re.compile(
    r'\b(?:in\s+front\s+of|on\s+top\s+of|next\s+to|(?:left|right)\s+of|made\s+(?:out\s+)?(?:of|from)'
    r'|(?:close|closer|closest|nearer|nearest|adjacent)\s+to|(?:far|farther|farthest|furthest)\s+from'
    r'|away\s+from|out\s+of|such\s+as)\b',
    re.IGNORECASE,
)
RANKS = _words(
    'first second third fourth fifth sixth last next other closest nearest farthest furthest '
    'leftmost rightmost tallest shortest highest lowest largest biggest smallest widest '
    'narrowest longest'
)
COLORS = (
    'red', 'orange', 'yellow', 'green', 'blue', 'purple', 'pink', 'brown', 'beige', 'black',
    'white', 'grey',
)  # fmt: skip
SAME_COLOR = {'gray': 'grey', 'violet': 'purple'}
ANYTHING = _words('everything anything something')
THINGS = _words('thing things object objects item items stuff')
WHAT = _words("what what's is are do does can you i we see there here")
WHAT_IS = ('what is', "what's", 'what are', 'what do you see', 'what can you see')
STANDING = _words(
    'on top under underneath beneath below next beside besides by near close adjacent'
)
LINKING = STANDING | _words('that is are which of to standing lying resting sitting placed')
AROUND = _words('in inside within of at around on here there that is are you i we can see please')
PLACES = _words(
    'room kitchen bedroom bathroom office hall hallway corridor garage basement attic flat '
    'apartment scene'
)
FOREIGN = _words('der das ein eine dem den neben le les une el los las una del il gli uno la')
ENGLISH = _words('the of to with near and on find where is')
