import type { Contender } from "../contender.ts"
import { aws } from "./aws.ts"

const contender: Contender = await aws("unsigned")
export default contender
