export type { DriftReference } from './drift.ts';
export { feedbackSchema } from './feedback.ts';
export type { Prediction } from './prediction-id.ts';
export { predictionIdName, Quality } from './quality.ts';
