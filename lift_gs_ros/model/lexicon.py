"""English words of requests to a robot, by what they do in a sentence (``phrases.py``)."""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


WORD = re.compile(r"[^\W\d_](?:\.[^\W\d_])+\b|[^\W_]+(?:['’\-][^\W_]+)*|[,.;:?!()\n]")

DETERMINERS = _words(
    'the a an this these those my your our his her its their some any all every each both no '
    'another'
)
RELATIONS = _words(
    'in on at by near beside besides behind under underneath beneath below above over between '
    'among inside outside within into onto against across along around opposite with without '
    'from in-between inbetween infront ontop alongside atop amid amidst amongst before after to '
    'toward towards through beyond past off upon of for as down not is are was were be being '
    "has have had that that's which which's who where it's it he she they them him someone "
    'somebody except'
)
SUBORDINATE = _words('if when whenever while since because as')  # what they say is no request
# What belongs to no name: it parts two of them, and says nothing of how they stand.
FILLERS = _words(
    "i've i'd i'll you've you'd you'll he's she's we've we're they're they've isn't aren't "
    "wasn't weren't won't can't couldn't wouldn't shouldn't don't doesn't didn't haven't hasn't "
    'who whose whom why how than but so about just really actually maybe perhaps probably '
    'kindly somewhere anywhere everywhere here now again still already ever usually always '
    'clockwise anticlockwise counterclockwise immediately directly quickly quick asap soon late '
    'hurry thanks thank thx cheers ugh um uh er oh ah hi hello dear sweetheart mate sir '
    'madam sorry pardon excuse bye well alright wow gimme wanna gotta gonna pls plz should '
    'shall might must may will did done having know think reckon believe guess suppose remember '
    'forget say says said mean wonder wondering lost lose leave drop dropped keep keeps happen '
    'happened indicate verify confirm talking searching speaking aim lives live goes go gone '
    'got comes come went begins seem bother exactly precisely possible ought prove yeah yes yep '
    "nope ya hmm oi where've wants own designate finding showing working ago awfully terribly "
    'very grateful out up mine yours hers theirs ours us mind whichever whatever sure else'
)
# Of what is no thing: "any idea", "a good look", "the position of".
VAGUE = _words(
    'chance idea look pain trouble life morning afternoon evening today breakfast lunch dinner '
    'moment minute time way position location place whereabouts favour favor chap question '
    'attention hint eyes pointer needful lot heaps turn glance help colour color dear'
)
DEGREES = _words('much too good little whole more')
FAR_OR_NEAR = _words('far near')  # "the far end"
PARTICIPLES = _words(
    'standing sitting lying hanging leaning facing holding containing resting located placed '
    'mounted attached stuck fixed positioned situated put kept left stacked surrounded covered '
    'wearing having touching supporting used adjacent close closer closest near nearer nearest '
    'far farther farthest furthest opposite next seen counted draped folded propped sat stood '
    'running leading rolled pinned taped tucked hidden wedged piled parked plugged hooked hung '
    'perched stands sits hangs lies relative counting starting beginning going coming walking '
    'looking viewed viewing measured measuring'
)
CONJUNCTIONS = _words('and or plus also then')
COMMANDS = _words(
    'find show bring give get take fetch grab go drive move navigate locate point select '
    'highlight approach visit inspect reach walk run proceed travel grasp deliver spot check '
    'direct count pointing sit segment detect look search want need see pick identify mark open '
    "close turn tell where's what's what there there's please can could would you i me we us "
    "we'd i'd like am i'm help let let's hey ok okay do does"
)
ALSO_NOUNS = _words(
    'can point drive move turn mark show help need look search walk run reach visit spot check '
    'count'
)  # "trash can"
BODY = _words('stand sit look face')  # "if you stand at", but "the TV stand"
QUANTITIES = _words('one two three four five most many several')  # "one of the chairs"
SEVERAL = QUANTITIES - {'one'} | _words('all both every each these those')
NEGATIONS = _words('not never without except')
COMMAND_GROUPS = (
    r'(?:get|aim|shine|point|put|give|chuck) (?:us |me )?(?:your|a|the) '
    r'(?:pointer|laser|light|torch|beam|eyes|finger) (?:on|at|onto|to|towards)|'
    'show me|show us|tell me|let me see|what about|do you know where|do you see|have you seen|'
    'where is|where are|what is|what are|what do you see|what can you see|is there|are there|'
    'look for|looking for|search for|go to|drive to|'
    'move to|navigate to|point to|point at|take me to|pick up|look at|go over to|turn to|'
    'point out|pointing out|pick out|single out|seek out|head for|head to|head over to|'
    'head towards|head toward|come to|stop at|hand me|pass me'
)
ADDRESSED = _words('robot bot buddy assistant')  # "find the mug, robot"
SPATIAL_NOUNS = _words(
    'left right front back top bottom side middle center centre corner end hand foot base rear '
    'edge row reach right-hand left-hand'
)
COPULAS = _words('is are was were be being that which stands sits hangs lies')
DESCRIBING = _words("is are was were it's its")  # "where is" is one command, not among these
PRONOUNS = _words('it they')
IT = _words("it it's")
PERSONS = _words("i you we i've you've we've")  # "the mug I left on the table"
SELVES = _words('me us you myself ourselves yourself')  # "closest to me", "the chair nearest you"
NEAREST, FARTHEST = _words('nearest closest'), _words('farthest furthest')
NEARNESS = NEAREST | FARTHEST
NEARNESS |= _words(
    'near nearer close closer next beside by adjacent far farther further away between'
)
_SIDE = r'(left|right)(?:[\s-]+hand)?(?:\s+side)?'
SIDE = re.compile(r'\b(left|right)(?:most)?\b', re.IGNORECASE)
SIDE_OF = re.compile(rf'\b{_SIDE}\s+of\b', re.IGNORECASE)  # "to the left of"
ON_SIDE = re.compile(  # "on your right-hand side"
    rf'\b(?:on|to|at)\s+(?:the|your|my|our)\s+(?:far\s+)?{_SIDE}\b(?![\s-]+(?:hand|side|of)\b)',
    re.IGNORECASE,
)
IS = _words("is are was were that's it's")
TELLING = _words("there there's")
ENDS = ('.', '!', '?', '\n')
TRAILING = _words('right directly just immediately very most also too here there now please only')
GROUPS = re.compile(r'\b(?:' + COMMAND_GROUPS.replace(' ', r'\s+') + r')\b', re.IGNORECASE)
WHICH_GROUPS = re.compile(
    r"\bwhich\s+(?:(?:one|of\s+(?:them|these|those))(?:['’]s|\s+(?:is|are|was|would\s+be))|is|are)\b",
    re.IGNORECASE,
)
RELATION_GROUPS = re.compile(
    r'\b(?:in\s+front\s+of|on\s+top\s+of|next\s+to(?!\s+last\b)|(?:left|right)\s+of|made\s+(?:out\s+)?(?:of|from)'
    r'|(?:close|closer|closest|nearer|nearest|adjacent)\s+to|(?:far|farther|farthest|furthest)\s+from'
    r'|away\s+from|out\s+of|such\s+as|across\s+from|relative\s+to|(?:on\s+)?either\s+side\s+of'
    r'|(?:at|on|over|by|down|in|to)\s+the\s+(?:far\s+|near\s+)?(?:foot|end|side|back|base|edge|rear)\s+of'
    r'|within\s+reach\s+of'
    r'|with\s+the\s+(?:short|long|small|large|great)est\s+(?:way|path|route|walk|distance)\s+(?:to|from))\b',
    re.IGNORECASE,
)
RANKS = _words(
    'first second third fourth fifth sixth last next other closest nearest farthest furthest '
    'leftmost rightmost tallest shortest highest lowest largest biggest smallest widest '
    'narrowest longest'
)
# With which words "to me" and "from me" tell a place: "the nearest chair to me".
FITTING = {
    'to': NEAREST | _words('nearer closer'),
    'from': FARTHEST | RANKS | _words('far farther further seen viewed looking viewing'),
}
AT_LAST = re.compile(  # "which chair is nearest?", "the chair farthest away"
    r'\b(nearest|closest|farthest|furthest)(?:\s+(?:away|by))?\W*$', re.IGNORECASE
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
