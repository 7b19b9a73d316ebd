(** From JSON to the certificates of separable programs, and one checker for files of both kinds. *)

From Coq Require Import ZArith QArith String Ascii List FMapPositive Lia.
From Zetaplan Require Import Json Programs Layers Certified.
From Zetaplan Require Claim Menus.
Import ListNotations.
Open Scope Q_scope.
Open Scope outcome_scope.

Definition LAYERS : Z := 20000.
Definition SCHEMA := "zetaplan.certificate/1"%string.
Definition PLAN := "zetaplan.plan/1"%string.

(** ** Fields *)

Definition at_least_zero (q : Q) : bool := Qle_bool 0 q.
Definition above_zero (q : Q) : bool := negb (Qle_bool q 0).
Definition any (q : Q) : bool := true.

Definition checked (good : Q -> bool) (name : string) (v : json) : outcome Q :=
  let* q := number v name in let* _ := need (good q) Unreadable name in Ok q.

Definition entries {A} (read : json -> outcome A) (v : json) (name : string) : outcome (list A) :=
  let* items := as_list v name 0 LAYERS in map_all read items.

Definition optional (name : string) (v : json) : outcome (option Q) :=
  match v with JNull => Ok None | _ => let* q := checked at_least_zero name v in Ok (Some q) end.

Definition program_of (v : json) : outcome program :=
  match v with
  | JString text =>
      if String.eqb text "allocation" then Ok Allocation
      else if String.eqb text "pruning" then Ok Pruning
      else if String.eqb text "barrier_pruning" then Ok Barrier
      else Fail Unreadable "program"
  | _ => Fail Unreadable "program"
  end.

Definition knobs (p : program) : string * string :=
  match p with Allocation => ("alpha", "gamma") | _ => ("bits", "eta") end%string.

(** ** The multiplier: a fraction of hexadecimal whole numbers *)

Definition hexadecimal (c : ascii) : option Z :=
  let n := Z.of_N (N_of_ascii c) in
  if (48 <=? n)%Z && (n <=? 57)%Z then Some (n - 48)%Z
  else if (97 <=? n)%Z && (n <=? 102)%Z then Some (n - 87)%Z else None.

Definition PIECE : Z := 1024.  (** digits that are collected before they are added to a long number *)

Fixpoint hex (text : string) (piece digits so_far : Z) : option Z :=
  match text with
  | EmptyString => Some (Z.shiftl so_far (4 * digits) + piece)%Z
  | String c rest =>
      match hexadecimal c with
      | None => None
      | Some d =>
          let piece := (16 * piece + d)%Z in
          if (digits + 1 =? PIECE)%Z then hex rest 0 0 (Z.shiftl so_far (4 * PIECE) + piece)
          else hex rest piece (digits + 1) so_far
      end
  end.

Definition prefixed (text : string) : option string :=
  match text with
  | String a (String b rest) => if Ascii.eqb a "0" && Ascii.eqb b "x" then Some rest else None
  | _ => None
  end.

Definition hex_number (text : string) : option Z :=
  match prefixed text with Some (String c rest) => hex (String c rest) 0 0 0 | _ => None end.

Definition hex_quotient (text : string) : option Q :=
  match split text EmptyString with
  | None => None
  | Some (above, below) =>
      let above := reversed above EmptyString in
      let (negative, above) := match above with String c rest => if Ascii.eqb c "-" then (true, rest) else (false, above)
                               | _ => (false, above) end in
      match hex_number above, prefixed below, hex_number below with
      | Some n, Some (String first _), Some d =>
          if Ascii.eqb first "0" then None
          else Some (Qmake (if negative then - n else n) (Z.to_pos d))
      | _, _, _ => None
      end
  end.

Definition read_multiplier (v : json) (layers : Z) : outcome Q :=
  match v with
  | JString text =>
      match (if shorter text (8192 + 32 * layers + 1) then hex_quotient text else None) with
      | Some q => Ok q
      | None => Fail Unreadable "multiplier"
      end
  | _ => Fail Unreadable "multiplier"
  end.

(** ** Sides: every layer once, in three lists *)

Definition sided (count : Z) (s : side) (found : outcome (PositiveMap.t side)) (q : Q) : outcome (PositiveMap.t side) :=
  let* found := found in
  let k := (Qnum q / Zpos (Qden q))%Z in
  let key := Z.to_pos (k + 1) in
  let whole := Qeq_bool q (inject_Z k) && (0 <=? k)%Z && (k <? count)%Z in
  let* _ := need (whole && negb (PositiveMap.mem key found)) Unreadable "interior, floor, cap" in
  Ok (PositiveMap.add key s found).

Definition read_sides (fields : list (string * json)) (count : Z) : outcome (PositiveMap.t side) :=
  let* inner := entries (checked at_least_zero "interior") (get fields "interior") "interior" in
  let* floors := entries (checked at_least_zero "floor") (get fields "floor") "floor" in
  let* caps := entries (checked at_least_zero "cap") (get fields "cap") "cap" in
  let* _ := need (size inner + size floors + size caps =? count)%Z Unreadable "interior, floor, cap" in
  fold_left (sided count Cap) caps (fold_left (sided count Floor) floors
    (fold_left (sided count Interior) inner (Ok (PositiveMap.empty side)))).

Fixpoint together (k : positive) (w a l : list Q) (h : list (option Q)) (x : list Q) (sides : PositiveMap.t side)
  : outcome (list layer) :=
  match w, a, l, h, x with
  | [], [], [], [], [] => Ok []
  | w :: ws, a :: rest_a, l :: ls, h :: hs, x :: xs =>
      match PositiveMap.find k sides with
      | None => Fail Unreadable "interior, floor, cap"
      | Some s =>
          let* rest := together (Pos.succ k) ws rest_a ls hs xs sides in
          Ok ({| weight := w; cost := a; lower := l; upper := h; planned := x; stands := s |} :: rest)
      end
  | _, _, _, _, _ => Fail Unreadable "plan"
  end.

Definition FIELDS : list string := ["schema"; "program"; "parameters"; "limit"; "multiplier"; "price"; "claim"; "weight";
  "resource"; "lower"; "upper"; "plan"; "interior"; "floor"; "cap"]%string.
Definition CLAIMS : list string := ["distance"; "coupling"; "price"; "gap"]%string.

Definition no_cap (l : layer) : bool :=
  match stands l, upper l with Cap, None => true | _, _ => false end.

Definition read (v : json) : outcome certificate :=
  let* fields := keys v "expected the keys" FIELDS in
  let* _ := need (Menus.schema_is SCHEMA v) Unreadable "schema" in
  let* p := program_of (get fields "program") in
  let (declared, strength) := knobs p in
  let* parameters := keys (get fields "parameters") "parameters" [declared; strength] in
  let* claims := keys (get fields "claim") "claim" CLAIMS in
  let* d := checked at_least_zero "limit" (get parameters declared) in
  let* limit := checked at_least_zero "limit" (get fields "limit") in
  let* s := checked above_zero "strength" (get parameters strength) in
  let* claimed := checked any "price" (get fields "price") in
  let* distance := checked at_least_zero "claim" (get claims "distance") in
  let* coupling := checked at_least_zero "claim" (get claims "coupling") in
  let* price := checked at_least_zero "claim" (get claims "price") in
  let* gap := checked at_least_zero "claim" (get claims "gap") in
  let* w := entries (checked at_least_zero "weight") (get fields "weight") "weight" in
  let* a := entries (checked above_zero "resource") (get fields "resource") "resource" in
  let* l := entries (checked at_least_zero "lower") (get fields "lower") "lower" in
  let* h := entries (optional "upper") (get fields "upper") "upper" in
  let* _ := need (match p with Allocation => true | _ => forallb (fun h => match h with None => false | _ => true end) h end)
    Unreadable "upper" in
  let* x := entries (checked any "plan") (get fields "plan") "plan" in
  let n := size w in
  let* _ := need ((1 <=? n) && (size a =? n) && (size l =? n) && (size h =? n) && (size x =? n))%Z Unreadable "plan" in
  let* sides := read_sides fields n in
  let* layers := together 1 w a l h x sides in
  let* m := read_multiplier (get fields "multiplier") n in
  let c := {| kind := p; declared := d; strength := s; limit := limit; multiplier := m; claimed := claimed;
    layers := layers; distance := distance; coupling := coupling; price := price; gap := gap |} in
  let* _ := need (forallb (sound_data c) layers) Unreadable "upper" in
  let* _ := need (negb (existsb no_cap layers)) Unreadable "cap" in
  Ok c.

(** ** The proof in a plan: its data are those of the plan *)

Fixpoint same (a b : json) {struct a} : bool :=
  match a, b with
  | JNull, JNull => true
  | JBool x, JBool y => Bool.eqb x y
  | JNumber (Some x), JNumber (Some y) => Qeq_bool x y
  | JBool x, JNumber (Some y) | JNumber (Some y), JBool x => Qeq_bool y (if x then 1 else 0)
  | JString x, JString y => String.eqb x y
  | JList x, JList y =>
      (fix go (x y : list json) : bool :=
        match x, y with [], [] => true | v :: x, w :: y => same v w && go x y | _, _ => false end) x y
  | JObject x, JObject y =>
      (size x =? size y)%Z && (fix go (x : list (string * json)) : bool :=
        match x with
        | [] => true
        | (k, v) :: x => match field y k with Some w => same v w | None => false end && go x
        end) x
  | _, _ => false
  end.

Definition object (v : option json) : outcome (list (string * json)) :=
  match v with Some (JObject fields) => Ok fields | _ => Fail Unreadable "plan" end.

Definition agrees (proof : list (string * json)) (key : string) (v : option json) : outcome bool :=
  match v with
  | None => Fail Unreadable "plan"
  | Some v => Ok (match field proof key with Some w => same w v | None => false end)
  end.

Definition inside (v : json) : outcome json :=
  let* plan := object (Some v) in
  let* proof := object (field plan "proof") in
  let* instance := object (field plan "instance") in
  let* solution := object (field plan "solution") in
  let* mine := object (field proof "parameters") in
  let* theirs := object (field instance "parameters") in
  let* data := map_all (fun key => agrees proof key (field instance key))
    ["program"; "limit"; "weight"; "resource"; "lower"; "upper"]%string in
  let* parameters := map_all (fun k_v => agrees mine (fst k_v) (field theirs (fst k_v))) mine in
  let* x := agrees proof "plan" (field solution "x") in
  let* m := agrees proof "price" (field solution "multiplier") in
  let* _ := need (forallb (fun b => b) (x :: m :: data ++ parameters)) Invalid "proof" in
  Ok (JObject proof).

(** ** Both kinds *)

Inductive statement :=
| Choice (c : Claim.certificate)
| Separable (c : certificate).

Definition statement_of (document : json) : outcome statement :=
  if Menus.schema_is PLAN document then let* v := inside document in let* c := read v in Ok (Separable c)
  else if Menus.schema_is SCHEMA document then let* c := read document in Ok (Separable c)
  else let* c := Menus.read document in Ok (Choice c).

Definition accepts (s : statement) : outcome unit :=
  match s with Choice c => Menus.check_menu c | Separable c => check_layers c end.

Definition holds (s : statement) : Prop :=
  match s with Choice c => Claim.claim c | Separable c => Layers.claim c end.

Definition check (document : json) : outcome statement :=
  let* s := statement_of document in let* _ := accepts s in Ok s.

(** What is accepted is true. *)
Theorem check_sound document s : check document = Ok s -> statement_of document = Ok s /\ holds s.
Proof.
  unfold check. intro H. apply bind_ok in H as [t [R H]]. apply bind_ok in H as [[] [A H]]. injection H as ->.
  split; [exact R|]. destruct s; cbn in *; [now apply Menus.check_menu_sound|now apply check_layers_sound].
Qed.
