"""Switches of the grid that comes with tierline."""

from tierline.operations.serving import topology


def a_switching(served):
    """Find two switches that feed the DER from elsewhere: their new positions, and those before."""
    state = served.state
    for opened in [key for key, closed in state.switches.items() if closed]:
        for shut in [key for key, closed in state.switches.items() if not closed]:
            moves = topology.moves(state, {**state.switches, opened: False, shut: True})
            mine = [move for move in moves if move.der_id == served.device.der_id]
            if mine and mine[0].joins:
                return {opened: False, shut: True}, {opened: True, shut: False}
    raise AssertionError("no switching moves this DER")
