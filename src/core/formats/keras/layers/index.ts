import { activationLayers } from './activations.ts';
import { attentionLayers } from './attention.ts';
import { categoryLayers } from './categories.ts';
import { convolutionLayers } from './convolution.ts';
import { coreLayers, mergeLayers, shapeLayers } from './core.ts';
import type { LayerKind } from './layer-kind.ts';
import { normalizationLayers } from './normalization.ts';
import { operations } from './operations.ts';
import { recurrentLayers } from './recurrent.ts';

const kinds: Readonly<Record<string, LayerKind>> = {
  ...coreLayers,
  ...shapeLayers,
  ...mergeLayers,
  ...activationLayers,
  ...normalizationLayers,
  ...convolutionLayers,
  ...recurrentLayers,
  ...attentionLayers,
  ...categoryLayers,
  ...operations,
};

/** How a class of layers becomes nodes; undefined when it is not one of Keras' own that are supported. */
export function layerKind(className: string): LayerKind | undefined {
  return Object.hasOwn(kinds, className) ? kinds[className] : undefined;
}

export { snakeCase } from './cells.ts';
export type { Keywords, LayerKind, Operand, Slot } from './layer-kind.ts';
