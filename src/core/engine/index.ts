export type { BackendId, Engine, EngineDevice, LoadedVariant, RunRequest, VariantSource } from './engine.ts';
