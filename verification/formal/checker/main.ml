(* The command: reads a file, asks the proved checker, prints its verdict in one line. This file is not proved.
   0: every claim is proved, 1: one is not, 2: the file is no certificate. *)

open Proved

let bytes_limit = 32 * 1024 * 1024

let read path =
  match (Unix.stat path).st_kind with
  | Unix.S_REG ->
      let stream = open_in_bin path in
      let data = really_input_string stream (min (in_channel_length stream) (bytes_limit + 1)) in
      close_in stream;
      if String.length data > bytes_limit then raise (Json.Fault "larger than 33554432 bytes") else data
  | _ -> raise (Json.Fault "not a regular file")
  | exception Unix.Unix_error _ -> raise (Json.Fault "not a regular file")

let text characters = String.of_seq (List.to_seq characters)

let verdict path =
  match check (Json.parse (read path)) with
  | Ok (Choice _) -> (0, "valid choice")
  | Ok (Separable _) -> (0, "valid plan")
  | Fail (Invalid, why) -> (1, "invalid: " ^ text why)
  | Fail (Unreadable, why) -> (2, "unreadable: " ^ text why)
  | exception Json.Fault why -> (2, "unreadable: " ^ why)
  | exception Sys_error why -> (2, "unreadable: " ^ why)
  | exception Stack_overflow -> (2, "unreadable: it takes more memory than there is")

(* Of several files, every verdict in a line of its own, in their order; the status is the largest. *)
let () =
  match List.tl (Array.to_list Sys.argv) with
  | [] -> prerr_endline "unreadable: usage: checker proof.json ..."; exit 2
  | [ path ] ->
      let status, line = verdict path in
      (if status = 0 then print_endline else prerr_endline) line;
      exit status
  | paths ->
      let one worst path = let status, line = verdict path in print_endline line; max worst status in
      exit (List.fold_left one 0 paths)
