import type { HandModel } from '../models.ts';

/** A model opened with its library alone. */
export interface OpenHandModel {
  /** A tensor of the library from values of the model's input, ready to be run any number of times. */
  prepare(values: Float32Array): void;
  /** Runs the prepared tensor and reads the result back. */
  run(): Promise<Float32Array>;
}

export type HandFiles = { readonly entry: ArrayBuffer; readonly weights: ArrayBuffer | undefined };

/** Starts a library; `open` then makes the model of the files. */
export interface HandLibrary {
  start(): Promise<void>;
  open(hand: HandModel, files: HandFiles): Promise<OpenHandModel>;
}
