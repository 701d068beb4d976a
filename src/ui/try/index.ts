export { AnswerView } from './answer-view.tsx';
export { askVersion, type Question, type VersionAnswer } from './ask-version.ts';
export { differencesOf } from './difference.ts';
export { QuestionForm } from './question-form.tsx';
