export { type Access, accessOfMethod, accessOfRoute, type HttpRow, httpAccess, isChange } from './access.ts';
