import { setFlagsFromString } from 'node:v8'

/**
 * Has V8 begin every object in its young generation. By default it watches where in the code objects are made, and those
 * of a place whose first objects outlived a collection are made old from then on, for as long as the process runs. Of a
 * server all that is under way outlives the first collections, which are quick to come; and what is made old keeps alive
 * whatever it refers to, whole requests, until the next full collection.
 */
export function beginYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
}
