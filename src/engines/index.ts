export type { EnginePlatform, OrtModule } from './platform.ts';
