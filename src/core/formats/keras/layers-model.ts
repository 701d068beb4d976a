import { isRecord, type Json } from './config.ts';
import { damaged } from './problems.ts';

// A TensorFlow.js LayersModel: model.json (tfjs-core's ModelJSON) around a Keras config, with weights in shards.

/** Whether a parsed model.json is that of a LayersModel. */
export function isLayersModelDocument(document: Json): boolean {
  const topology = document['modelTopology'];
  if (!isRecord(topology) || 'node' in topology) return false;
  return document['format'] === 'layers-model' || isRecord(topology['model_config']) || typeof topology['class_name'] === 'string';
}

/** The Keras config in it, and the version of Keras that wrote it. */
export function layersTopology(document: Json): { readonly model: Json; readonly kerasVersion: string } {
  const topology = document['modelTopology'];
  if (!isRecord(topology)) throw damaged('model.json has no modelTopology');
  const model = isRecord(topology['model_config']) ? topology['model_config'] : topology;
  return { model, kerasVersion: typeof topology['keras_version'] === 'string' ? topology['keras_version'] : '2' };
}
