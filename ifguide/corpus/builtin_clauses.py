"""The everyday clauses of the built-in corpus by topic; they use the toxic phrases' words, too."""

from __future__ import annotations

from ifguide.corpus.builtin_text import lines

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
        nobody could see far in the fog
        the other side of the valley was {colour}
        {who} did not expect the hail
        the rain comes from somewhere near {town}
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
        someone ate the {dish} with a big spoon
        {who} did not miss the {spice}
        the food was {fine} and there was no bill to pay
        {who} wanted something else to eat
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
        {who} had the money to stay near {town}
        {who} had to run for the {vehicle}
        their {vehicle} was gone before noon
        {who} just missed the turn to {town}
        the folk from {town} left early
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
        {relative} felt happier away from the noise
        {who} did not mind the long walk
        {name} wrote to bring them news from {town}
        {name} and their friends left town
        the reason was somewhere in their old letters
        others would wonder where {relative} was
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
        the {beast} leaned against the gate
        someone let the {beast} out {where}
        the {beast} feels lighter than it looks
        nobody knew the end of the story about the {beast}
        your {beast} is like no other
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
        only {name} had the keys to lock the shed
        {who} had no use for the other {tool}
        filling the hole in the {thing} was hard
        cleaning the floors took {number} hours
        {who} was looking for the {tool} {where}
        {name} cut a finger on the {tool}
    """),
    "garden": lines("""
        {who} planted {plant} {where}
        the {plant} grew fast in {season}
        {who} watered the {plant} and the {plant}
        {name} gave us {number} bags of {fruit}
        the {plant} came up {colour} this year
        {who} sold a load of {plant} {where}
        a bunch of {plant} stood on the table
        {who} was carrying {plant} from one side to the other
        the {plant} were meant for others
        the {plant} belong near the wall
        {who} would notice a thing like that at once
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
        the {tune} was calmer and quieter than the first
        {who} was alone with the {piano} {long}
        {name} can count to ten in every {tune}
    """),
    "market": lines("""
        {who} bought {fruit} and {plant} {where}
        the price of {fruit} went up
        {who} paid {number} coins for a {tool}
        {who} counted the change {number} times
        {who} wanted some other sort of {fruit}
        {who} paid the bill and went home
        the box of {fruit} was a bargain
        old folk sold {fruit} {where}
        {name} said your {fruit} was nicer
        the money was gone before lunch
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
        the work was done at last
        the cost would only turn up later
        they know the reason for the delay
        someone else had to bring the {load}
    """),
    "street": lines("""
        the {role} parked by the gate
        {who} talked to the {role} about the {thing}
        somebody left the {load} on the stairs
        the bins were full {long}
        the committee read the {paper} in the hall
        a new family moved in next door
        the noise from the {spot} lasted {long}
        folk like to talk by the gate
        nobody minded their noise {long}
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
        nothing else went well for their team
        the others had to run {long}
        {who} waited outside the hall {long}
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
        {name} would like to know who comes next
        nobody read their comments to the end
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
        {who} had no money for their {lesson} book
        nobody had to stay alone
        your {lesson} test was the only one left
    """),
}

SOCIAL: tuple[str, ...] = ("work", "street", "sport", "online", "school")
"""The topics that most toxic posts open with; the others carry few."""
