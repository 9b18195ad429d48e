"""What `anytimenet.runtime` exports, with the module of each name."""

from anytimenet.runtime.backends.backend import Backend as Backend
from anytimenet.runtime.backends.backend import Placement as Placement
from anytimenet.runtime.backends.known import backends_of as backends_of
from anytimenet.runtime.backends.known import make_backend as make_backend
from anytimenet.runtime.backends.known import register_backend as register_backend
from anytimenet.runtime.model import Model as Model
from anytimenet.runtime.model import PreparedModel as PreparedModel
