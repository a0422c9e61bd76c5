"""What one peer may see of a serving node, rendered.

Programs, controls and curves are shared by all devices, so their fragments are rendered once; each is kept with the version
of its shard and the time until which it is true, the next boundary of an event. A hit touches neither database nor rules.
What a peer does not stand for, or is not of a program that one it stands for is assigned to now, is not there: the answer is
that of a missing path.
"""

from tierline.protocols.sep2.views.keeping import Rates
from tierline.protocols.sep2.views.names import FSA, INFO_TYPES, RESPONSES, info_kind, response_id, short
from tierline.protocols.sep2.views.places import Views

__all__ = ["FSA", "INFO_TYPES", "RESPONSES", "Rates", "Views", "info_kind", "response_id", "short"]
