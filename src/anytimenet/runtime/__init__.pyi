"""What `anytimenet.runtime` exports, with the module of each name."""

from anytimenet.runtime.backends.backend import Backend as Backend
from anytimenet.runtime.backends.backend import Placement as Placement
from anytimenet.runtime.backends.known import backends_of as backends_of
from anytimenet.runtime.backends.known import make_backend as make_backend
from anytimenet.runtime.backends.known import register_backend as register_backend
from anytimenet.runtime.batches.costs import LeavingCosts as LeavingCosts
from anytimenet.runtime.batches.leaving import LeavingRun as LeavingRun
from anytimenet.runtime.batches.leaving import RowAnswer as RowAnswer
from anytimenet.runtime.model import Model as Model
from anytimenet.runtime.model import PreparedModel as PreparedModel
from anytimenet.runtime.planning.plan import Plan as Plan
from anytimenet.runtime.planning.plan_table import PlanTable as PlanTable
from anytimenet.runtime.planning.planner import Planner as Planner
from anytimenet.runtime.planning.slowdown import Slowdown as Slowdown
from anytimenet.runtime.policies.known import known_policies as known_policies
from anytimenet.runtime.policies.known import policy_of as policy_of
from anytimenet.runtime.policies.known import register_policy as register_policy
from anytimenet.runtime.policies.patience import PatiencePolicy as PatiencePolicy
from anytimenet.runtime.policies.policy import ExitPolicy as ExitPolicy
from anytimenet.runtime.policies.simulated import simulated_exits as simulated_exits
from anytimenet.runtime.policies.thresholds import ClassPolicy as ClassPolicy
from anytimenet.runtime.policies.thresholds import ConfidencePolicy as ConfidencePolicy
from anytimenet.runtime.profiling.backend import profile_backend as profile_backend
from anytimenet.runtime.saved_session import SavedSession as SavedSession
from anytimenet.runtime.session import Answer as Answer
from anytimenet.runtime.session import Session as Session
