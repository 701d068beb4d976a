import { imageShape, pickTensor } from './image-task.ts';
import type { NamedTensors } from './signature.ts';

export type Fields = Readonly<Record<string, unknown>>;

const filter = { filter: 'bilinear', antialias: true };

/**
 * What a task's input says, completed by the model: the name of an only input, the layout and size of pictures, the usual names of a text's inputs.
 * @throws {NearfarError} `invalid-argument` for a name that the model does not have; `shape-mismatch` for an input that takes no pictures.
 */
export function completeInput(task: string, input: Fields, { inputs }: NamedTensors): Fields {
  const only = inputs.length === 1 ? inputs[0]?.name : undefined;
  if (task.startsWith('tabular-')) {
    const columns = Array.isArray(input['columns']) ? input['columns'].map((column) => ({ input: only, ...column })) : input['columns'];
    return { ...input, columns };
  }
  if (task.startsWith('audio-')) return { name: only, ...input };
  if (task.startsWith('text-') || input['tokenizer'] !== undefined) {
    const usual = (name: string) => inputs.find((tensor) => tensor.name === name)?.name;
    const names = { ids: usual('input_ids') ?? only, attentionMask: usual('attention_mask'), tokenTypeIds: usual('token_type_ids') };
    return { padding: 'longest', ...names, ...input };
  }
  const tensor = pickTensor('input', inputs, textOf(input['name']), []);
  const wanted = input['layout'] === 'NCHW' || input['layout'] === 'NHWC' ? input['layout'] : undefined;
  const { layout, height, width } = imageShape(tensor, wanted);
  const size = height > 0 && width > 0 ? [height, width] : undefined;
  return {
    name: tensor.name,
    layout,
    scale: 1 / 255,
    mean: [0, 0, 0],
    std: [1, 1, 1],
    ...(task === 'embeddings' && { crop: size }),
    ...input,
    resize: { ...(typeof input['resize'] === 'object' ? input['resize'] : { size }), ...filter },
  };
}

/** The same of its output: the name of an only one; of pictures the layout and the scaling of the input. */
export function completeOutput(task: string, output: Fields, { outputs }: NamedTensors, input: Fields): Fields {
  if (task === 'object-detection') return output;
  const name = outputs.length === 1 ? outputs[0]?.name : undefined;
  const { layout, scale, mean, std } = input;
  if (task === 'image-segmentation') return { name, layout, ...output };
  return task === 'image-to-image' ? { name, layout, scale, mean, std, ...output } : { name, ...output };
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}
