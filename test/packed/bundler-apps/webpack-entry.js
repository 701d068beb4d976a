import { showAnswer } from './show-answer.js';

showAnswer({});
