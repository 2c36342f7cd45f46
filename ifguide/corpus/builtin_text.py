"""The everyday side of the built-in corpus: words, clauses, lead-ins and what may follow them.

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

TOPICS: dict[str, tuple[str, ...]] = {
    "weather": lines("""
        it rained {long}
        it snowed {long} on the hill
        the {sky} turned {colour} before the storm
        the wind blew the washing across the yard
        the forecast promised sun but we got hail
        the fog hid the {sight} {long}
        {who} forgot the umbrella and got soaked
        the {season} stayed {fine} and the air was clean
        the frost could ruin the {plant}
        the lights went out in the whole {spot}
    """),
    "food": lines("""
        {who} baked a cake with {fruit} and {spice}
        {who} cooked {dish} for {number} people
        the {dish} needed more {spice}
        the kitchen smelled of {spice} and {fruit}
        {who} burned the {dish}
        the {dish} was hopeless
        the {dish} was ready before noon
        {who} had to wash the plates and the table
        there was {dish} left for lunch
        {who} tried a new kind of {dish}
    """),
    "travel": lines("""
        the {vehicle} to {town} was {number} minutes late
        {who} missed the {vehicle} and walked along the river
        {who} drove through the hills to {town}
        {who} packed a map and some {fruit} for the trip
        the hotel near the {sight} had {number} rooms
        the trip was a {deg} {success}
        the road to {town} was closed {long}
        {who} took a photo of the {sight}
        a lot of people waited for the {vehicle}
        {who} came back from {town} with a box of {fruit}
        the seats on the {vehicle} were free
    """),
    "family": lines("""
        {relative} came to visit with {relative}
        the baby slept {long}
        {relative} told us a story about a {beast}
        the twins drew a {colour} {beast} on the wall
        {who} wrote a letter to {relative}
        {relative} found the old photo of the {sight}
        {relative} wanted a {colour} coat
        {who} played cards with {name} {where}
        the children carried the {load} to the car
        {relative} stayed home with the baby
    """),
    "animals": lines("""
        the {beast} slept {where}
        a {colour} {beast} crossed the road
        {who} fed the {beast} {where}
        the {beast} chased the {beast} around the shed
        {who} saw a {beast} and {number} ducks {where}
        the vet looked at the {beast}
        the lazy {beast} lay in the sun {long}
        the {beast} would not go near the water
        a greedy {beast} took the {fruit}
    """),
    "repairs": lines("""
        {who} fixed the {thing} with a {tool}
        the {thing} was broken {long}
        {who} painted the {thing} {colour}
        {who} borrowed a {tool} from {name}
        the old {thing} made a strange sound
        {who} locked the shed and kept the key
        {who} needed a {tool} for the {thing}
        the {tool} was missing from the box
        a useless {tool} lay on the floor
        {who} held the ladder for {name}
    """),
    "garden": lines("""
        {who} planted {plant} {where}
        the {plant} grew fast in {season}
        {who} watered the {plant} and the {plant}
        {name} gave us {number} bags of {fruit}
        the {plant} came up {colour} this year
        {who} sold a load of {plant} {where}
        a bunch of {plant} stood on the table
    """),
    "music": lines("""
        {who} played the {piano} {where}
        the choir sang a slow {tune}
        {who} learned a {tune} on the {piano}
        the concert in the hall lasted {number} hours
        the {tune} was a {deg} {success}
        the old {piano} was out of tune
        {who} danced to a {tune} {where}
        {who} began to speak about the {tune}
        the film about the {sight} was long
        the gang from the theatre rehearsed {long}
    """),
    "market": lines("""
        {who} bought {fruit} and {plant} {where}
        the price of {fruit} went up
        {who} paid {number} coins for a {tool}
        {who} counted the change {number} times
        {who} wanted some other sort of {fruit}
        {who} paid the bill and went home
        the box of {fruit} was a bargain
    """),
    "work": lines("""
        {who} sent the {paper} to the {role}
        the meeting about the {paper} ran {long}
        the {gear} in the office broke down
        the {colour} {gear} was a {deg} {success}
        {name} finished the {paper} {when}
        our team moved to the {colour} room
        the {role} asked for another {paper}
        {who} answered the phone at the desk
        the {paper} was pinned to the door
        {who} carried the {load} to the office
        the total of the {paper} was wrong
    """),
    "street": lines("""
        the {role} parked by the gate
        {who} talked to the {role} about the {thing}
        somebody left the {load} on the stairs
        the bins were full {long}
        the committee read the {paper} in the hall
        a new family moved in next door
        the noise from the {spot} lasted {long}
    """),
    "sport": lines("""
        our team won by {number} goals
        our team lost the match {where}
        the {role} stopped the game {long}
        {who} ran {number} miles {where}
        {name} scored {number} times
        the match ended in a draw
        the game was a {deg} {success}
        {who} kicked the ball over the {thing}
        a pack of {colour} shirts arrived
    """),
    "online": lines("""
        {name} posted a photo of the {sight}
        {who} read the comments under the {tune}
        the clip was a {deg} {success}
        {who} shared the {paper} with the group
        the group talked about the {paper} {long}
        {name} wrote a message to the {role}
        {who} watched a clip about a {thing}
        {number} people liked the photo of the {beast}
        the page about {town} was slow
    """),
    "school": lines("""
        {who} studied {lesson} {long}
        the {lesson} test had {number} questions
        {name} forgot the {lesson} book
        the class visited the {sight}
        the {lesson} lesson was a {deg} {success}
        the school play was about a {beast}
        {who} read {number} pages of the {lesson} book
        {name} could barely spell the name of the {sight}
        the teacher spoke about {lesson} in public
    """),
}

SOCIAL: tuple[str, ...] = ("work", "street", "sport", "online", "school")
"""The topics that most toxic posts open with; the others carry few."""

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
