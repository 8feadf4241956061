import { z } from 'zod';

/** What we read of an AdmissionReview (admission.k8s.io/v1). Objects are taken as they are: the API server has checked them. */
export const AdmissionReview = z.object({
  apiVersion: z.literal('admission.k8s.io/v1'),
  kind: z.literal('AdmissionReview'),
  request: z.object({
    uid: z.string().min(1),
    kind: z.object({ group: z.string(), version: z.string(), kind: z.string() }),
    namespace: z.string().default(''),
    operation: z.enum(['CREATE', 'UPDATE', 'DELETE', 'CONNECT']),
    userInfo: z.object({ username: z.string().default(''), groups: z.array(z.string()).optional() }),
    object: z.looseObject({}).nullish(),
    oldObject: z.looseObject({}).nullish(),
  }),
});
export type AdmissionRequest = z.infer<typeof AdmissionReview>['request'];

export interface AdmissionResponse {
  uid: string;
  allowed: boolean;
  patchType?: 'JSONPatch';
  /** Base64. */
  patch?: string;
  warnings?: string[];
  status?: { code: number; reason: string; message: string };
}
