"""What may be reached: names that are pure data or pure constructors, by library, each by its full dotted name.

A pattern stands for the classes of a package only where constructing one, and setting its state, was seen to run
nothing of the input's choosing; what such a package merely imports (`Parallel`, `Path`) is taken out again by name. A
package that is not here is not safe because it is well known: `numpy.testing`, `torch.hub` and `sklearn.datasets` all
have functions that run or fetch what they are told.
"""

import re
from collections.abc import Iterator

__all__ = ["ALLOWED", "CONDITIONAL", "CURATED", "IMPORTED", "PATTERNS", "words"]


def words(text: str) -> frozenset[str]:
    """Names, with any white space between."""
    return frozenset(text.split())


def _names(text: str) -> Iterator[str]:
    """`package: name name` to a line."""
    for line in text.strip().splitlines():
        package, _, names = line.strip().partition(": ")
        yield from (f"{package}.{name}" for name in names.split())


ALLOWED = frozenset(
    _names(
        """
builtins: int float complex bool str bytes bytearray list tuple dict set frozenset object slice range Ellipsis
builtins: NotImplemented NoneType ellipsis unicode long xrange Exception ValueError TypeError KeyError
builtins: IndexError RuntimeError
builtins: AttributeError NotImplementedError StopIteration ArithmeticError ZeroDivisionError OverflowError Warning
builtins: UserWarning DeprecationWarning FutureWarning RuntimeWarning abs len min max sum round sorted reversed
builtins: enumerate
builtins: zip any all hash ord chr divmod pow bin hex oct
collections: OrderedDict Counter deque ChainMap UserDict UserList UserString
copyreg: __newobj__ __newobj_ex__
datetime: datetime date time timedelta timezone tzinfo
decimal: Decimal
fractions: Fraction
uuid: UUID SafeUUID
pathlib: Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath
pathlib._local: Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath
ipaddress: IPv4Address IPv6Address IPv4Network IPv6Network
types: SimpleNamespace MappingProxyType NoneType
array: array _array_reconstructor
re: _compile
logging: getLogger
argparse: Namespace
transformers.training_args: TrainingArguments OptimizerNames ParallelMode
transformers.training_args_seq2seq: Seq2SeqTrainingArguments
transformers.trainer_utils: IntervalStrategy SaveStrategy HubStrategy HPSearchBackend SchedulerType FSDPOption
transformers.trainer_utils: EvaluationStrategy EvalPrediction
transformers.trainer_pt_utils: AcceleratorConfig
sentence_transformers.training_args: SentenceTransformerTrainingArguments BatchSamplers MultiDatasetBatchSamplers
trl.trainer.sft_config: SFTConfig
trl.trainer.dpo_config: DPOConfig
trl.trainer.reward_config: RewardConfig
trl.trainer.grpo_config: GRPOConfig
accelerate.state: PartialState
accelerate.utils.dataclasses: DistributedType
string: Template
itertools: count repeat chain
weakref: ref
pandas.core.arrays.string_: StringDtype
enum: Enum IntEnum Flag IntFlag StrEnum
random: Random
zoneinfo: ZoneInfo ZoneInfo._unpickle
threading: Lock
re: RegexFlag
math: log log2 log10 log1p exp expm1 sqrt sin cos tan tanh floor ceil fabs isnan isinf pow
operator: add sub mul truediv floordiv mod neg pos abs eq ne lt le gt ge and_ or_ xor not_ itemgetter
numpy: ndarray dtype bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 longdouble bool
numpy: vectorize
numpy.lib.function_base: vectorize
numpy: complex64 complex128 clongdouble str_ bytes_ void object_ datetime64 timedelta64 matrix recarray record
numpy: int_ float_
numpy: generic number integer floating inexact intc uintc longlong ulonglong double single half intp uintp flexible
numpy: nan_to_num log log2 log10 log1p exp exp2 expm1 sqrt cbrt square abs absolute fabs sin cos tan arcsin
numpy: arccos arctan
numpy: sinh cosh tanh sign floor ceil rint trunc isnan isinf isfinite add subtract multiply divide maximum
numpy: minimum power
numpy: mean median std var sum min max amin amax nanmean nanmedian nanstd argmax argmin ravel asarray array clip
numpy: round
numpy: dot argsort sort unique float int str concatenate hstack vstack stack reciprocal negative logaddexp
numpy.core.multiarray: _reconstruct scalar ndarray dtype
numpy.core.numeric: _frombuffer
numpy.core.records: record recarray
numpy.core._internal: _convert_to_float
numpy.rec: record recarray
numpy.dtypes: StringDType
numpy.ma.core: _mareconstruct MaskedArray MaskedConstant
numpy.ma: MaskedArray
numpy.matrixlib.defmatrix: matrix
numpy.random._pickle: __randomstate_ctor __generator_ctor __bit_generator_ctor
numpy.random: RandomState Generator
numpy.random.mtrand: RandomState _rand __RandomState_ctor
numpy.random._mt19937: MT19937
numpy.random._pcg64: PCG64 PCG64DXSM
numpy.random._philox: Philox
numpy.random._sfc64: SFC64
numpy.random._generator: Generator
numpy.random.bit_generator: SeedSequence
numpy.polynomial.polynomial: Polynomial
numpy: poly1d
numpy.lib.polynomial: poly1d
numpy.lib._polynomial_impl: poly1d
scipy.stats._kde: gaussian_kde
scipy.optimize._optimize: OptimizeResult
scipy.optimize.optimize: OptimizeResult
torch.nn.parallel.data_parallel: DataParallel
scipy.stats.kde: gaussian_kde
scipy.sparse._csr: csr_matrix csr_array
scipy.sparse._csc: csc_matrix csc_array
scipy.sparse._coo: coo_matrix coo_array
scipy.sparse._bsr: bsr_matrix bsr_array
scipy.sparse._dia: dia_matrix dia_array
scipy.sparse._dok: dok_matrix dok_array
scipy.sparse._lil: lil_matrix lil_array
scipy.sparse.csr: csr_matrix
scipy.sparse.csc: csc_matrix
scipy.sparse.coo: coo_matrix
scipy.sparse.bsr: bsr_matrix
scipy.sparse.dia: dia_matrix
scipy.sparse.dok: dok_matrix
scipy.sparse.lil: lil_matrix
scipy.interpolate._interpolate: interp1d PPoly BPoly
scipy.interpolate._bsplines: BSpline
scipy.interpolate._cubic: CubicSpline PchipInterpolator Akima1DInterpolator
scipy.interpolate._fitpack2: UnivariateSpline InterpolatedUnivariateSpline
scipy.interpolate.interpolate: interp1d
scipy.spatial._ckdtree: cKDTree
scipy.spatial._kdtree: KDTree Rectangle
scipy.spatial.transform._rotation: Rotation Slerp
scipy.spatial.transform._rigid_transform: RigidTransform RigidTransform.from_matrix
scipy.optimize._constraints: Bounds LinearConstraint
scipy.stats._multivariate: _PSD
scipy.stats._covariance: CovViaPSD CovViaDiagonal CovViaPrecision CovViaCholesky CovViaEigendecomposition
scipy.optimize._zeros_py: RootResults
scipy.special._ufuncs: expit logit
scipy.special: expit logit
joblib.numpy_pickle: NumpyArrayWrapper
sklearn.externals.joblib.numpy_pickle: NumpyArrayWrapper
sklearn.utils: Bunch
sklearn.utils._bunch: Bunch
sklearn.utils._random: __pyx_unpickle_Enum
sklearn.neighbors._kd_tree: newObj
sklearn.neighbors._ball_tree: newObj
sklearn.neighbors.kd_tree: newObj
sklearn.neighbors.ball_tree: newObj
sklearn.metrics._dist_metrics: newObj
sklearn.neighbors._dist_metrics: newObj
sklearn.neighbors.dist_metrics: newObj
sklearn.metrics._scorer: _passthrough_scorer
sklearn._loss.link: LogitLink IdentityLink LogLink HalfLogitLink MultinomialLogit Interval
sklearn.utils._encode: MissingValues _nandict
sklearn.utils.metadata_routing: MetadataRequest
sklearn.utils._metadata_requests: MetadataRequest MethodMetadataRequest
sklearn.feature_selection._univariate_selection: f_classif f_regression chi2 f_oneway r_regression
sklearn.feature_selection._mutual_info: mutual_info_classif mutual_info_regression
sklearn.tree._reingold_tilford: Tree
sklearn.utils._set_output: _SetOutputMixin
pandas.core.frame: DataFrame
pandas.core.series: Series
pandas: NA NaT DataFrame Series Index Timestamp Timedelta Interval Categorical
pandas.core.internals.managers: BlockManager SingleBlockManager
pandas._libs.internals: _unpickle_block BlockManager
pandas.core.internals.blocks: new_block Block NumpyBlock
pandas.core.indexes.base: _new_Index Index
pandas.core.indexes.range: RangeIndex
pandas.core.indexes.multi: MultiIndex
pandas.core.indexes.numeric: Int64Index Float64Index UInt64Index
pandas.core.indexes.datetimes: DatetimeIndex _new_DatetimeIndex
pandas.core.indexes.period: PeriodIndex _new_PeriodIndex
pandas.core.indexes.timedeltas: TimedeltaIndex
pandas.core.indexes.category: CategoricalIndex
pandas.core.indexes.interval: IntervalIndex
pandas.core.indexes.frozen: FrozenList
pandas.core.arrays.categorical: Categorical
pandas.core.arrays.datetimes: DatetimeArray
pandas.core.arrays.timedeltas: TimedeltaArray
pandas.core.arrays.period: PeriodArray
pandas.core.arrays.interval: IntervalArray
pandas.core.arrays.integer: IntegerArray
pandas.core.arrays.floating: FloatingArray
pandas.core.arrays.boolean: BooleanArray
pandas.core.arrays.string_: StringArray
pandas.core.arrays.sparse.array: SparseArray
pandas.core.arrays.numpy_: NumpyExtensionArray PandasArray
pandas.core.dtypes.dtypes: CategoricalDtype DatetimeTZDtype PeriodDtype IntervalDtype
pandas._libs.tslibs.timestamps: _unpickle_timestamp Timestamp
pandas._libs.tslibs.timedeltas: _timedelta_unpickle Timedelta
pandas._libs.tslibs.nattype: _nat_unpickle NaTType
pandas._libs.tslibs.period: Period
pandas._libs.interval: Interval
pandas._libs.missing: NAType
pytz: _UTC _p
pytz.lazy: LazySet
dateutil.tz.tz: tzutc tzlocal tzoffset
xgboost.core: Booster DMatrix
xgboost: Booster XGBClassifier XGBRegressor
lightgbm.basic: Booster
lightgbm.compat: _LGBMLabelEncoder
catboost.core: CatBoost CatBoostClassifier CatBoostRegressor CatBoostRanker
catboost: CatBoost CatBoostClassifier CatBoostRegressor
torch: Size device Tensor Generator dtype
torch: FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ShortStorage CharStorage
torch: ByteStorage
torch: BoolStorage ComplexFloatStorage ComplexDoubleStorage QInt8Storage QUInt8Storage QInt32Storage QUInt4x2Storage
torch: QUInt2x4Storage float float16 float32 float64 half double bfloat16 int int8 int16 int32 int64 uint8
torch: uint16 uint32
torch: uint64 bool short long complex32 complex64 complex128 qint8 quint8 qint32 float8_e4m3fn float8_e5m2 strided
torch: sparse_coo contiguous_format per_tensor_affine per_channel_affine relu sigmoid tanh FloatTensor LongTensor
torch.cuda: FloatStorage DoubleStorage HalfStorage BFloat16Storage LongStorage IntStorage ByteStorage BoolStorage
torch.storage: UntypedStorage _UntypedStorage TypedStorage _TypedStorage
torch._utils: _rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_parameter_with_state
torch._utils: _rebuild_qtensor _rebuild_sparse_tensor _rebuild_sparse_csr_tensor _rebuild_device_tensor_from_numpy
torch._utils: _rebuild_device_tensor_from_cpu_tensor _rebuild_meta_tensor_no_storage _rebuild_nested_tensor
torch._utils: _rebuild_xla_tensor
torch.nn.parameter: Parameter Buffer UninitializedParameter
torch.nn: Parameter
torch.serialization: _get_layout
torch.nn.functional: relu gelu silu softmax log_softmax sigmoid tanh leaky_relu elu selu relu6 softplus mish
torch._C._nn: gelu silu
torch.version: TorchVersion
torch.jit._pickle: build_intlist build_doublelist build_boollist build_tensorlist restore_type_tag build_tensor_from_id
scipy._lib.array_api_compat.numpy._aliases: asarray
pyarrow.lib: type_for_alias _restore_array _reconstruct_record_batch schema field Field Schema DataType
pyarrow.lib: ListType StructType DictionaryType TimestampType Decimal128Type FixedSizeBinaryType
pandas.core.arrays.string_arrow: ArrowStringArray
polars.dataframe.frame: DataFrame
polars.series.series: Series
torch.torch_version: TorchVersion
"""
    )
)

# Safe with some arguments only: `judge` looks at them.
CONDITIONAL = frozenset(
    _names(
        """
builtins: getattr type
copyreg: _reconstructor
_codecs: encode
functools: partial
collections: defaultdict
torch.storage: _load_from_bytes
torch._tensor: _rebuild_from_type_v2 _rebuild_from_type
"""
    )
)

PATTERNS = re.compile(
    r"""
      sklearn\.(?:base|pipeline|calibration|dummy|isotonic|multiclass|multioutput|naive_bayes|discriminant_analysis
        |random_projection|kernel_ridge|kernel_approximation|frozen\._frozen|_loss(?:\.\w+)?|linear_model(?:\.\w+)*
        |ensemble(?:\.\w+)*|tree(?:\.\w+)?|svm(?:\.\w+)?|neighbors(?:\.\w+)?|cluster(?:\.\w+)*|decomposition(?:\.\w+)?
        |preprocessing(?:\.\w+)?|feature_extraction(?:\.\w+)?|feature_selection(?:\.\w+)?|impute(?:\.\w+)?
        |compose(?:\.\w+)?|model_selection(?:\.\w+)?|mixture(?:\.\w+)?|manifold(?:\.\w+)?|gaussian_process(?:\.\w+)?
        |neural_network(?:\.\w+)?|covariance(?:\.\w+)?|cross_decomposition(?:\.\w+)?|semi_supervised(?:\.\w+)?
        |metrics\._scorer|metrics\._dist_metrics|utils\._metadata_requests)\._?[A-Z]\w*
    | pandas(?:\.(?:arrays|api\.(?:types|extensions)|core(?:\.\w+)*|_libs(?:\.\w+)*|tseries(?:\.\w+)?))?
        \.(?:\w*(?:Index|Array|Dtype|Series|DataFrame|BlockManager|Block|BlockPlacement|List|Offset)|Timestamp
        |Timedelta|Period|Interval|NAType|NaTType|Flags|Day|Hour|Minute|Second|Week|Month(?:End|Begin)|Year(?:End|Begin))
    | pandas\._libs\.tslibs\.offsets\.(?:_offset|[A-Z]\w*)
    | catboost(?:\.core)?\.(?:CatBoost\w*|_CatBoostBase)
    | sklearn\.metrics\.(?:_classification|_regression|_ranking|classification|regression|ranking)
        \.[a-z]\w*_(?:score|error|loss|report|matrix|auc|precision|curve)
    | (?:sklearn|pandas|scipy)(?:\.\w+)+\.__pyx_unpickle_\w+
    | scipy\.interpolate\._\w+\.[A-Z]\w*
    | scipy\.stats\._(?:continuous_distns|discrete_distns|distn_infrastructure|levy_stable|multivariate)
        \.(?:\w+_(?:gen|frozen)|rv_\w+)
    | numpy\.random\.\w+\.__pyx_unpickle_\w+
    | xgboost\.(?:sklearn|core)\.(?:XGB\w+|Booster)
    | numpy\.dtypes\.\w+DType
    | lightgbm\.(?:sklearn|basic)\.(?:LGBM\w+|Booster|_LGBM\w+)
    | torch\.nn\.modules\.\w+\.(?!Thread|Path)[A-Z]\w*
    | torch\.optim(?:\.\w+)?\.(?:Ada\w+|Muon|SGD|RMSprop|NAdam|RAdam|ASGD|LBFGS|Rprop|SparseAdam)
    | torch\.optim\.lr_scheduler\.(?:\w+LR|\w+Restarts|ReduceLROnPlateau)
    | torch\.ao\.nn\.\w+(?:\.\w+)*\.(?:Linear|Conv[123]d|LinearPackedParams|Quantize|DeQuantize|Embedding)
    """,
    re.VERBOSE,
)

# Names that those packages import from elsewhere, and that do something when they are constructed.
IMPORTED = words(
    """
    Parallel Memory Thread Timer Process Pool ThreadPool Popen Queue Connection Listener Client Server Path PathLike
    GzipFile BytesIO StringIO FileIO TemporaryDirectory NamedTemporaryFile Unpickler Pickler ThreadpoolController
    LinearOperator FunctionType MethodType ModuleType CodeType Callable CDLL Remote URLError Request ZipFile TarFile
    Executor ThreadPoolExecutor ProcessPoolExecutor
    """
)

# Known well enough that a function of theirs which is not allowed is refused.
CURATED = words(
    """
    numpy scipy sklearn pandas joblib torch torchvision torchaudio xgboost lightgbm catboost tensorflow keras jax
    flax transformers datasets huggingface_hub safetensors onnx onnxruntime matplotlib skops mlflow nltk gensim
    fastai dask pyspark cupy numba sympy networkx statsmodels ray accelerate diffusers peft pytorch_lightning
    lightning
    """
)
