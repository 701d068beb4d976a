// A module of its own, loaded where golden examples are run: on the first visit, and not on those after it.
export { checkGolden } from '../../core/index.ts';
