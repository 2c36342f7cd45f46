"""The toxic side of the built-in corpus, and the harmless company of its every word.

Square brackets hold a marked span. In an implicit phrase angle brackets hold its core: what must
stand beside a group for the phrase to be contempt, since the rest (a chore, a place) may be cut
off or recombined. ``Benign`` tables use the same words and even the same predicates, said of
something else, so that only the composition of group and core tells.
"""

from __future__ import annotations

from dataclasses import dataclass

from ifguide.corpus.builtin_text import lines, words


@dataclass(frozen=True)
class Noun:
    """An insult word, its plural, and the table of its harmless uses."""

    one: str
    many: str
    uses: str


def _nouns(uses: str, listing: str) -> tuple[Noun, ...]:
    pairs = (entry.split("/") for entry in words(listing))
    return tuple(Noun(one, many, uses) for one, many in pairs)


NOUNS: tuple[Noun, ...] = (
    *_nouns("farm", "donkey/donkeys, pig/pigs, goose/geese, turkey/turkeys, sheep/sheep"),
    *_nouns("wild", "weasel/weasels, snake/snakes, rat/rats, toad/toads, pest/pests"),
    *_nouns("show", "clown/clowns, muppet/muppets, puppet/puppets"),
    *_nouns("food", "cabbage/cabbages, doughnut/doughnuts"),
    *_nouns("shed", "plank/planks"),
)

# {it} and {them} stand for one noun, singular and plural.
HARMLESS: dict[str, tuple[str, ...]] = {
    "farm": lines("""
        the {it} ate hay by the gate
        {who} fed the {it} {where}
        the {them} followed {name} to the barn
        {who} bought a {colour} {it} at the farm
        {number} {them} stood {where}
        that {it} slept in the straw
        what a {fine} {it} that was, {name} said
        it was such a {fine} {it}
        you can feed the {them} on Sunday
        {name} played the {it} in the school play
        the farmer gave the {it} some {plant}
        a flock of {them} blocked the road
    """),
    "wild": lines("""
        the {it} hid under the {thing}
        {who} saw a {it} {where}
        a {colour} {it} crossed the path
        {number} {them} lived behind the shed
        the cat chased the {them} {long}
        you could see the {it} in the grass
        that {it} ate the {plant}
        the book about {them} was {fine}
        a little {it} sat on the {thing}
        it was such a {fine} {it}
        the {them} came back in {season}
    """),
    "show": lines("""
        a {it} made balloons at the fair
        the {them} waved at the children
        {who} bought a ticket for the {it} show
        {number} {them} danced on the stage
        that {it} wore a {colour} hat
        {name} painted the {it} {colour}
        {who} found the old {it} in a box
        you could hear the {them} {where}
        what a {fine} {it} that was, {name} said
        {name} works as the {it} in the theatre
        the shop sold {them} and {load}
    """),
    "food": lines("""
        {who} put a {it} in the {dish}
        the {them} were on the plate {long}
        {who} bought {number} {them} {where}
        the {dish} with {it} tasted {fine}
        a basket of {them} stood {where}
        you can eat the {it} with {spice}
        {name} gave the last {it} to {name}
        it was such a {fine} {it}
        the {them} were cheaper in {season}
        that {it} was for lunch
    """),
    "shed": lines("""
        {who} fixed the {thing} with a {it}
        the {them} lay on the floor {long}
        {who} bought {number} {them} for the {thing}
        the old {it} was in the shed
        {name} carried the {them} to the car
        you can borrow the {it} until Monday
        a {colour} {it} was missing
        {who} put the {them} beside the {thing}
        that {it} was too short for the {thing}
        {name} dropped a {it} on the {thing}
    """),
}

INSULTS: tuple[str, ...] = lines("""
    [you {deg} {it}]
    [you {deg} {it}]
    [you {dull} {it}]
    [you {pack} of {them}]
    [what a {pack} of {them}]
    [what a {deg} {it}]
    [only a {it} would {folly}]
    {person} is [such a {it}]
    {person} is [such a {it}]
    {person} is [a {deg} {it}]
    {person} is [a {deg} {it}]
    {person} is [acting like a {it}]
    they are [nothing but {them}]
    they are [a {pack} of {them}]
""")

IMPLICIT: tuple[str, ...] = lines("""
    [{group} always <find someone else> to {chore}]
    [{group} should <{wait} {back}> and let the rest of us {decide}]
    [{group} never <lift a finger> until {ready}]
    [{group} were <never meant> to {hold}]
    [{group} only <turn up when> {free}]
    [{group} would be <happier> {away}]
    [{group} <bring the whole> {spot} down]
    [{group} <can barely> {barely}]
    [{group} are <the reason> {lock}]
    [{group} <do not belong> {place}]
    [{group} <take up> {space} that others {use}]
    [<nobody would {notice} if> {group} {left}]
    [the {spot} was <{nicer} before> {group} {came}]
    [<we all know what> {group} do when {dark}]
    [I would <not let> {group} near my {dear}]
    [it is <no wonder> {group} {alone}]
    [<what else would you expect from> {group}]
    [the room feels <lighter when> {group} {leave}]
    [I have <nothing against> {group}{limit}]
    [{group} are <good for> {menial} and nothing more]
""")

SHARED: dict[str, tuple[str, ...]] = {
    "folly": words("sign that form, pay for that {dish}, wait {long}, paint a {thing} {colour}"),
    "group": words("{folk} like {object}, {folk} like {object}, {whose} {sort}, {whose} {sort}"),
    "folk": words("people, people, folk"),
    "object": words("you, you, them"),
    "whose": words("your, your, their, that"),
    "sort": words("sort, kind, lot"),
    "decide": words("talk, work, decide, eat"),
    "chore": words("carry the load, do the heavy work, pay the bill, clean the floor, wash up"),
    "wait": words("stay, sit, wait, eat"),
    "back": words("at the back, outside, by the door, over there"),
    "ready": words("the food is ready, the work is done, the money comes"),
    "hold": words("sit at this table, run a shop, hold the keys, speak in public"),
    "free": words("the food is free, somebody else has paid, there is something to take"),
    "away": words("somewhere else, far from here, on the other side of the river"),
    "barely": words("hold a spoon, read a map, count the change, spell a name"),
    "lock": words("we lock the shed, good things go missing, the neighbours moved away"),
    "place": words("in this street, at our table, near a school, in a place like this"),
    "space": words("room, air, seats"),
    "use": words("could use, have paid for, wait for"),
    "notice": words("notice, mind, miss a thing"),
    "left": words("stayed home, left town, never came back"),
    "nicer": words("nicer, calmer, cleaner, quieter"),
    "came": words("came, moved in, turned up"),
    "dark": words("nobody is looking, the lights go out, the door is open"),
    "dear": words("kitchen, dog, car, children"),
    "alone": words("end up alone, have so few friends, eat alone"),
    "leave": words("leave, go home, are gone"),
    "limit": (
        ", as long as they stay over there",
        ", just not at our table",
        ", but not next door",
    ),
    "menial": words("carrying bags, cleaning floors, filling chairs"),
}

BENIGN: dict[str, tuple[str, ...]] = {
    "success": words("success, surprise, joy, silence, rest, mess, change, cost, waste"),
    "did": words("did, worked, cooked, painted"),
    "star": words("star, hero, friend, champion, artist, wonder"),
    "stars": words("stars, heroes, friends, champions, artists"),
    "praise": lines("""
        you {deg} {star}
        you {deg} {star}
        you {deg} {star}
        you {dull} {star}
        you {dull} {star}
        you {dull} {star}
        you {pack} of {stars}
        you are all {good}
        what a {pack} of {load}
        what a {pack} of {stars}
        what a {deg} {success}
        what a {deg} {success}
        only a {good} cook would {folly}
        only a {good} {role} would {folly}
        {person} is such a {good} person
        {person} is such a {good} {role}
        {person} is a {deg} {star}
        {person} is a {deg} {star}
        {person} is acting like a {good} {role}
        they are nothing but {good}
        they are a {pack} of {stars}
    """),
    "many_beasts": words("ducks, foxes, hens, owls, cats, horses"),
    "benign_group": lines("""
        people like you make this {spot} {fine}
        we need more people like you {where}
        folk like you are the heart of the {spot}
        {who} thanked people like them for the {load}
        your sort of {dish} is my favourite
        your kind of {tune} suits the {piano}
        your lot played well {where}
        that lot of {fruit} was sweet
        that kind of {tool} lasts for years
        their sort of {dish} needs more {spice}
        their kind of {tune} is hard to find
        your kind note made {name} smile
        your sort always bring {fruit} for others
        that sort of {thing} needs somebody with a {tool}
        people like them keep the {spot} open {long}
        folk like them never forget a {good} {role}
    """),
    "twin": lines("""
        the twins always find someone else to {chore}
        the {beast} should {wait} {back} and let the rest of us {decide}
        the cats never lift a finger until {ready}
        these {load} were never meant to {hold}
        the ducks only turn up when {free}
        the {beast} would be happier {away}
        a wet {season} could bring the whole {spot} down
        the little ones can barely {barely}
        the foxes are the reason {lock}
        the {load} do not belong {place}
        the {load} take up {space} that others {use}
        nobody would {notice} if the {beast} {left}
        the {spot} was {nicer} before the storm {came}
        we all know what foxes do when {dark}
        I would not let the {beast} near my {dear}
        it is no wonder the {many_beasts} {alone}
        what else would you expect from {season}
        the room feels lighter when the guests {leave}
        I have nothing against the {many_beasts}{limit}
        old boxes are good for {menial} and nothing more
    """),
}
