"""The everyday side of the built-in corpus: words, sentences, lead-ins and what may follow them.

``{name}`` in an alternative stands for a draw from the entry ``name``. Past tense spares agreement.
"""

from __future__ import annotations


def words(listing: str) -> tuple[str, ...]:
    """Return the comma-separated alternatives of ``listing``."""
    return tuple(" ".join(word.split()) for word in listing.split(","))


def lines(listing: str) -> tuple[str, ...]:
    """Return the alternatives of ``listing``, one a line."""
    return tuple(line.strip() for line in listing.strip().splitlines())


WORDS: dict[str, tuple[str, ...]] = {
    "name": words("Anna, Tom, Maria, Peter, Lucy, Omar, Nina, Jack, Rosa, Felix, Grace, Sam"),
    "relative": words(
        "my sister, my brother, my mother, my father, my uncle, my aunt, my cousin, my grandmother"
    ),
    "worker": words(
        "the baker, the plumber, the nurse, the teacher, the driver, the postman, the gardener"
    ),
    "person": words(
        "my boss, my landlord, the new manager, our neighbour, the referee, the driver, my cousin,"
        "the coach, the head of the office, the man at the desk, the caretaker, my brother"
    ),
    "role": words("manager, landlord, neighbour, referee, driver, coach, boss, caretaker"),
    "many": words("the children, the neighbours, my parents, the twins, the students, we, they"),
    "who": words("I, I, we, {name}, {name}, {relative}, {relative}, {worker}, {many}"),
    "one": words("{name}, {relative}, {worker}, {person}"),
    # times, places, numbers
    "when": words(
        "this morning, yesterday, on Monday, on Friday, last week, before lunch, after work,"
        "late at night, last summer, at noon, in the evening, before breakfast, on Sunday"
    ),
    "long": words("all day, for an hour, until noon, since Monday, all night, for a week"),
    "where": words(
        "at the market, near the station, by the river, in the park, at the library, behind the"
        " church, on the hill, in the village, by the gate, at home, in the yard, next door"
    ),
    "spot": words("street, office, library, village, school, hall, shop, kitchen, club, room"),
    "town": words("the coast, the city, the lake, the border, the old harbour, the airport"),
    "number": words("two, three, four, five, six, seven, ten, twelve, twenty"),
    "colour": words("red, blue, green, white, yellow, grey, brown, black"),
    # things
    "dish": words("soup, stew, curry, pie, salad, rice, omelette, pasta, porridge, pizza, cake"),
    "fruit": words("apples, pears, plums, lemons, cherries, oranges, berries, grapes"),
    "spice": words("salt, pepper, garlic, honey, mint, ginger, butter, cinnamon, cheese"),
    "paper": words("report, letter, contract, plan, budget, invoice, form, rota, list"),
    "gear": words("printer, computer, heater, lift, telephone, coffee machine, projector"),
    "thing": words("tap, roof, fence, bicycle, shelf, lamp, door, window, gate, chair, clock"),
    "tool": words("hammer, ladder, drill, rope, brush, saw, bucket, torch, key, box of screws"),
    "beast": words("dog, cat, horse, hen, owl, hedgehog, duck, fox, cow, rabbit, sparrow, pony"),
    "plant": words("beans, roses, onions, potatoes, tulips, carrots, peas, herbs, tomatoes"),
    "sight": words("bridge, museum, castle, tower, harbour, market, theatre, garden, mill"),
    "load": words("bags, boxes, chairs, books, plates, tents, bricks, bottles, coats"),
    "tune": words("song, waltz, hymn, march, tune, ballad"),
    "piano": words("piano, violin, trumpet, guitar, drum, flute, cello"),
    "sky": words("sky, sea, valley, field, road, hillside"),
    "vehicle": words("train, bus, ferry, tram, coach, plane, taxi"),
    "lesson": words("history, science, grammar, music, geography, drawing, maths"),
    "good": words("kind, fair, patient, friendly, helpful, cheerful, honest, calm, generous"),
    "fine": words("lovely, tidy, quiet, bright, pleasant, sweet, clever, warm, simple"),
    "dull": words("slow, old, noisy, lazy, silly, little, greedy, useless, hopeless, sorry"),
    "deg": words("absolute, complete, total, utter"),
    "pack": words("pack, bunch, gang"),
    "season": words("spring, summer, autumn, winter"),
}

SENTENCES: tuple[str, ...] = lines("""
    {clause}
    {clause}
    {clause} {when}
    {when}, {clause}
    {clause} and {other}
    {clause}, so {other}
    {clause} because {other}
    {clause} while {other}
    {clause} after {other}
    {clause}, but {other}
    when {clause}, {other}
    {clause} {when}, and {other}
""")

LEAD_INS: tuple[str, ...] = lines("""
    honestly,
    I read the {paper} again and honestly,
    let me tell you about the {spot}:
    let me be frank,
    I told the {role} on the phone:
    {name} wrote under the photo:
    {name} shouted across the {spot}:
    the last line of the letter said:
    and then {name} turned round and said:
    here is what I think:
    it has to be said,
    my answer to the {role} was short:
    if you ask me,
    I have said it before and I will say it again:
    everyone at the {spot} agrees:
    {name} looked at {name} and said:
    the note on the door said:
    between us,
""")

OPINIONS: tuple[str, ...] = lines("""
    the {dish} was worth the wait
    the {paper} was better than we expected
    {who} did a good job with the {thing}
    it was a {deg} {success}
    I have never seen such a {fine} {sight}
    we should go back to {town} in {season}
    we can talk about the {paper} and decide {when}
    do not leave the {load} {where}
    {name} is sorry about the noisy {gear}
    a silly {tune} can be hard to forget
    I find the {lesson} lesson a {deg} {success}
    nothing can take the place of {dish} with {spice}
    the {beast} was acting like a {beast}
    sit here and hold the {tool}, and let {name} carry the {load}
    few things feel {fine} like a room with {fruit}
    {person} is {good}
    you {did} well with the {thing}
    you can borrow the {tool} until Monday
    you are always welcome {where}
    what a {fine} {sight}
    the {sight} looked {fine} in the rain
    {name} sings like a {beast} in {season}
    that box of {fruit} was heavy
    the {thing} looks cleaner than it did in {season}
    {name} forgot to sign the {paper}
""")
