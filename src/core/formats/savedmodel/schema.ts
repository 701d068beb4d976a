import {
  bool,
  bytes,
  dataType,
  double,
  type FileRange,
  fixed32,
  float,
  int,
  int64,
  many,
  map,
  message,
  optional,
  range,
  type Schema,
  string,
  uint64,
} from './wire.ts';

// The messages of tensorflow/core/protobuf and tensorflow/core/framework that a reader of graphs needs, with their field numbers.
// Names are those of the proto files, because the text form is read by them.

export interface ShapeProto {
  readonly dim: readonly { readonly size: number }[];
  readonly unknown_rank: boolean;
}
const shapeDim: Schema<{ size: number }> = { size: int(1) };
export const shapeProto: Schema<ShapeProto> = { dim: many(message(2, () => shapeDim)), unknown_rank: bool(3) };

export interface TensorProto {
  readonly dtype: number;
  readonly tensor_shape: ShapeProto | undefined;
  readonly tensor_content: Uint8Array;
  readonly float_val: readonly number[];
  readonly double_val: readonly number[];
  readonly int_val: readonly number[];
  readonly string_val: readonly Uint8Array[];
  readonly scomplex_val: readonly number[];
  readonly int64_val: readonly bigint[];
  readonly bool_val: readonly boolean[];
  readonly dcomplex_val: readonly number[];
  readonly half_val: readonly number[];
  readonly uint32_val: readonly number[];
  readonly uint64_val: readonly bigint[];
  /** Where `tensor_content` is that stayed in the file. */
  readonly range: FileRange | undefined;
}
export const tensorProto: Schema<TensorProto> = {
  dtype: dataType(1),
  tensor_shape: message(2, () => shapeProto),
  tensor_content: bytes(4),
  float_val: many(float(5)),
  double_val: many(double(6)),
  int_val: many(int(7)),
  string_val: many(bytes(8)),
  scomplex_val: many(float(9)),
  int64_val: many(int64(10)),
  bool_val: many(bool(11)),
  dcomplex_val: many(double(12)),
  half_val: many(int(13)),
  uint32_val: many(int(16)),
  uint64_val: many(uint64(17)),
  range,
};

export interface NameAttrList {
  readonly name: string;
  readonly attr: ReadonlyMap<string, AttrValue>;
}
const nameAttrList: Schema<NameAttrList> = {
  name: string(1),
  attr: map(
    2,
    message(2, () => attrValue),
  ),
};

export interface AttrList {
  readonly s: readonly Uint8Array[];
  readonly i: readonly number[];
  readonly f: readonly number[];
  readonly b: readonly boolean[];
  readonly type: readonly number[];
  readonly shape: readonly ShapeProto[];
  readonly tensor: readonly TensorProto[];
  readonly func: readonly NameAttrList[];
}
const attrList: Schema<AttrList> = {
  s: many(bytes(2)),
  i: many(int(3)),
  f: many(float(4)),
  b: many(bool(5)),
  type: many(dataType(6)),
  shape: many(message(7, () => shapeProto)),
  tensor: many(message(8, () => tensorProto)),
  func: many(message(9, () => nameAttrList)),
};

/** A oneof: at most one is there. */
export interface AttrValue {
  readonly list?: AttrList | undefined;
  readonly s?: Uint8Array | undefined;
  readonly i?: number | undefined;
  readonly f?: number | undefined;
  readonly b?: boolean | undefined;
  readonly type?: number | undefined;
  readonly shape?: ShapeProto | undefined;
  readonly tensor?: TensorProto | undefined;
  /** Of a node in a function: the attribute of the call that stands here. */
  readonly placeholder?: string | undefined;
  readonly func?: NameAttrList | undefined;
}
export const attrValue: Schema<AttrValue> = {
  list: message(1, () => attrList),
  s: optional(bytes(2)),
  i: optional(int(3)),
  f: optional(float(4)),
  b: optional(bool(5)),
  type: optional(dataType(6)),
  shape: message(7, () => shapeProto),
  tensor: message(8, () => tensorProto),
  placeholder: optional(string(9)),
  func: message(10, () => nameAttrList),
};

export interface NodeDef {
  readonly name: string;
  readonly op: string;
  readonly input: readonly string[];
  readonly attr: ReadonlyMap<string, AttrValue>;
}
export const nodeDef: Schema<NodeDef> = {
  name: string(1),
  op: string(2),
  input: many(string(3)),
  attr: map(
    5,
    message(2, () => attrValue),
  ),
};

export interface ArgDef {
  readonly name: string;
  readonly type: number;
  readonly type_attr: string;
  readonly number_attr: string;
  readonly type_list_attr: string;
}
const argDef: Schema<ArgDef> = {
  name: string(1),
  type: dataType(3),
  type_attr: string(4),
  number_attr: string(5),
  type_list_attr: string(6),
};

export interface OpDef {
  readonly name: string;
  readonly input_arg: readonly ArgDef[];
  readonly output_arg: readonly ArgDef[];
  readonly attr: readonly { readonly name: string; readonly default_value: AttrValue | undefined }[];
}
const opAttr: Schema<OpDef['attr'][number]> = { name: string(1), default_value: message(3, () => attrValue) };
const opDef: Schema<OpDef> = {
  name: string(1),
  input_arg: many(message(2, () => argDef)),
  output_arg: many(message(3, () => argDef)),
  attr: many(message(4, () => opAttr)),
};

export interface FunctionDef {
  readonly signature: OpDef | undefined;
  readonly node_def: readonly NodeDef[];
  readonly ret: ReadonlyMap<string, string>;
  readonly control_ret: ReadonlyMap<string, string>;
}
const functionDef: Schema<FunctionDef> = {
  signature: message(1, () => opDef),
  node_def: many(message(3, () => nodeDef)),
  ret: map(4, string(2)),
  control_ret: map(6, string(2)),
};

export interface FunctionLibrary {
  readonly function: readonly FunctionDef[];
}
const functionLibrary: Schema<FunctionLibrary> = { function: many(message(1, () => functionDef)) };

export interface GraphDef {
  readonly node: readonly NodeDef[];
  readonly versions: { readonly producer: number } | undefined;
  readonly library: FunctionLibrary | undefined;
}
const versionDef: Schema<{ producer: number }> = { producer: int(1) };
export const graphDef: Schema<GraphDef> = {
  node: many(message(1, () => nodeDef)),
  versions: message(4, () => versionDef),
  library: message(2, () => functionLibrary),
};

export interface TensorInfo {
  readonly name: string;
  readonly dtype: number;
  readonly tensor_shape: ShapeProto | undefined;
  readonly coo_sparse: unknown;
  readonly composite_tensor: unknown;
}
const nothing: Schema<unknown> = {};
const tensorInfo: Schema<TensorInfo> = {
  name: string(1),
  dtype: dataType(2),
  tensor_shape: message(3, () => shapeProto),
  coo_sparse: message(4, () => nothing),
  composite_tensor: message(5, () => nothing),
};

export interface SignatureDef {
  readonly inputs: ReadonlyMap<string, TensorInfo>;
  readonly outputs: ReadonlyMap<string, TensorInfo>;
  readonly method_name: string;
}
const signatureDef: Schema<SignatureDef> = {
  inputs: map(
    1,
    message(2, () => tensorInfo),
  ),
  outputs: map(
    2,
    message(2, () => tensorInfo),
  ),
  method_name: string(3),
};

export interface CollectionDef {
  readonly bytes_list: { readonly value: readonly Uint8Array[] } | undefined;
  /** Messages of any type: google.protobuf.Any. */
  readonly any_list: { readonly value: readonly { readonly value: Uint8Array }[] } | undefined;
  readonly node_list: { readonly value: readonly string[] } | undefined;
}
const nodeList: Schema<{ value: readonly string[] }> = { value: many(string(1)) };
const bytesList: Schema<{ value: readonly Uint8Array[] }> = { value: many(bytes(1)) };
const anyMessage: Schema<{ value: Uint8Array }> = { value: bytes(2) };
const anyList: Schema<{ value: readonly { value: Uint8Array }[] }> = { value: many(message(1, () => anyMessage)) };
const collectionDef: Schema<CollectionDef> = {
  node_list: message(1, () => nodeList),
  bytes_list: message(2, () => bytesList),
  any_list: message(5, () => anyList),
};

/** A variable of TensorFlow 1, in collections (tensorflow/core/framework/variable.proto). */
export interface VariableDef {
  readonly variable_name: string;
  readonly save_slice_info_def: SaveSliceInfo | undefined;
}
export interface SaveSliceInfo {
  readonly full_name: string;
  readonly var_offset: readonly number[];
  readonly var_shape: readonly number[];
}
const saveSliceInfo: Schema<SaveSliceInfo> = { full_name: string(1), var_offset: many(int(3)), var_shape: many(int(4)) };
export const variableDef: Schema<VariableDef> = { variable_name: string(1), save_slice_info_def: message(4, () => saveSliceInfo) };

export interface AssetFileDef {
  readonly tensor_info: TensorInfo | undefined;
  readonly filename: string;
}
export const assetFileDef: Schema<AssetFileDef> = { tensor_info: message(1, () => tensorInfo), filename: string(2) };

export interface MetaInfo {
  readonly stripped_op_list: { readonly op: readonly OpDef[] } | undefined;
  readonly tags: readonly string[];
  readonly tensorflow_version: string;
}
const opList: Schema<{ op: readonly OpDef[] }> = { op: many(message(1, () => opDef)) };
const metaInfo: Schema<MetaInfo> = { stripped_op_list: message(2, () => opList), tags: many(string(4)), tensorflow_version: string(5) };

export interface SaverDef {
  readonly filename_tensor_name: string;
  readonly restore_op_name: string;
}
const saverDef: Schema<SaverDef> = { filename_tensor_name: string(1), restore_op_name: string(3) };

export interface MetaGraphDef {
  readonly meta_info_def: MetaInfo | undefined;
  readonly graph_def: GraphDef | undefined;
  readonly saver_def: SaverDef | undefined;
  readonly collection_def: ReadonlyMap<string, CollectionDef>;
  readonly signature_def: ReadonlyMap<string, SignatureDef>;
  readonly asset_file_def: readonly AssetFileDef[];
}
const metaGraphDef: Schema<MetaGraphDef> = {
  meta_info_def: message(1, () => metaInfo),
  graph_def: message(2, () => graphDef),
  saver_def: message(3, () => saverDef),
  collection_def: map(
    4,
    message(2, () => collectionDef),
  ),
  signature_def: map(
    5,
    message(2, () => signatureDef),
  ),
  asset_file_def: many(message(6, () => assetFileDef)),
};

export interface SavedModel {
  readonly saved_model_schema_version: number;
  readonly meta_graphs: readonly MetaGraphDef[];
}
export const savedModel: Schema<SavedModel> = { saved_model_schema_version: int(1), meta_graphs: many(message(2, () => metaGraphDef)) };

// The tensor bundle (tensorflow/core/protobuf/tensor_bundle.proto, framework/tensor_slice.proto).

export interface BundleHeader {
  readonly num_shards: number;
  /** 0 little, 1 big. */
  readonly endianness: number;
}
export const bundleHeader: Schema<BundleHeader> = { num_shards: int(1), endianness: int(2) };

export interface SliceExtent {
  readonly start: number;
  /** Undefined for the whole axis. */
  readonly length: number | undefined;
}
export interface SliceProto {
  readonly extent: readonly SliceExtent[];
}
const sliceExtent: Schema<SliceExtent> = { start: int(1), length: optional(int(2)) };
const sliceProto: Schema<SliceProto> = { extent: many(message(1, () => sliceExtent)) };

export interface BundleEntry {
  readonly dtype: number;
  readonly shape: ShapeProto | undefined;
  readonly shard_id: number;
  readonly offset: number;
  readonly size: number;
  readonly crc32c: number;
  readonly slices: readonly SliceProto[];
}
export const bundleEntry: Schema<BundleEntry> = {
  dtype: dataType(1),
  shape: message(2, () => shapeProto),
  shard_id: int(3),
  offset: int(4),
  size: int(5),
  crc32c: fixed32(6),
  slices: many(message(7, () => sliceProto)),
};

// Names of saved variables by object (tensorflow/core/protobuf/trackable_object_graph.proto).

export interface TrackableObjectGraph {
  readonly nodes: readonly { readonly attributes: readonly { readonly full_name: string; readonly checkpoint_key: string }[] }[];
}
const trackableAttribute: Schema<{ full_name: string; checkpoint_key: string }> = { full_name: string(2), checkpoint_key: string(3) };
const trackableObject: Schema<TrackableObjectGraph['nodes'][number]> = { attributes: many(message(2, () => trackableAttribute)) };
export const trackableObjectGraph: Schema<TrackableObjectGraph> = { nodes: many(message(1, () => trackableObject)) };
