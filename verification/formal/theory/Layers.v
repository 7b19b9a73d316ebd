(** The data of zetaplan.certificate/1, what it claims over the real numbers, and its checker over the rational ones. *)

From Coq Require Import ZArith QArith Qround Qreals Reals String List.
From Zetaplan Require Import Json Claim Sums Separable Programs Exact.
Import ListNotations.
Open Scope Q_scope.
Open Scope outcome_scope.

Inductive side := Interior | Floor | Cap.

Record layer := {
  weight : Q;
  cost : Q;
  lower : Q;
  upper : option Q;
  planned : Q;
  stands : side
}.

Record certificate := {
  kind : program;
  declared : Q;
  strength : Q;
  limit : Q;
  multiplier : Q;
  claimed : Q;  (** the claimed multiplier *)
  layers : list layer;
  distance : Q;
  coupling : Q;
  price : Q;
  gap : Q
}.

(** ** The claim *)

Section Claim.

Variable c : certificate.

Definition nothing : layer :=
  {| weight := 0; cost := 0; lower := 0; upper := None; planned := 0; stands := Floor |}.
Definition K : nat := length (layers c).
Definition layer_at (k : nat) : layer := nth k (layers c) nothing.

Definition inside_layer (l : layer) (v : R) : Prop :=
  (Q2R (lower l) <= v)%R /\ match upper l with Some h => (v <= Q2R h)%R | None => True end.

Definition loss (k : nat) : R -> R :=
  value (kind c) (Q2R (strength c)) (Q2R (declared c)) (Q2R (weight (layer_at k))) (Q2R (cost (layer_at k))).
Definition loss_slope (k : nat) : R -> R :=
  slope (kind c) (Q2R (strength c)) (Q2R (declared c)) (Q2R (weight (layer_at k))) (Q2R (cost (layer_at k))).

(** A budget, or a target with all signs turned. *)
Definition signed_cost (k : nat) : R := (sign (kind c) * Q2R (cost (layer_at k)))%R.
Definition signed_limit : R := (sign (kind c) * Q2R (limit c))%R.
Definition inside (k : nat) : R -> Prop := inside_layer (layer_at k).
Definition x (k : nat) : R := Q2R (planned (layer_at k)).

(** A layer without weight at the total price 0, every value of which is optimal. *)
Definition free (k : nat) : Prop :=
  Q2R (weight (layer_at k)) = 0%R /\ (Q2R (declared c) + Q2R (multiplier c) = 0)%R.

Definition claim : Prop :=
  in_box K inside x /\
  (use K signed_cost x - signed_limit <= Q2R (coupling c))%R /\
  (forall y, feasible K signed_cost signed_limit inside y ->
     objective K loss x - objective K loss y <= Q2R (gap c))%R /\
  (forall y k, optimal K loss signed_cost signed_limit inside y -> (k < K)%nat -> ~ free k ->
     Rabs (x k - y k) <= Q2R (distance c) * Rmax (x k) 1)%R /\
  (exists m star, conditions K loss_slope signed_cost signed_limit inside m star /\
     optimal K loss signed_cost signed_limit inside star /\ (Rabs (Q2R (claimed c) - m) <= Q2R (price c))%R).

End Claim.

(** ** The checker *)

Definition TOLERANCE : Q := 4835703278458517 # 4835703278458516698824704.
Definition ROUNDING : Q := 1 # 562949953421312.
Definition GRID : Q := inject_Z (Z.shiftl 1 1100).

Definition sign_of (p : program) : Q := match p with Allocation => 1 | _ => -1 end.

Definition steepness_of (p : program) (s w v : Q) : Q :=
  match p with
  | Allocation => - (s * w) / (1 + v)
  | Pruning => 2 * (s * w) * v
  | Barrier => s * w / (1 - v)
  end.

Definition rise_of (p : program) (s w a : Q) : Q :=
  match p with Allocation => s * w | Pruning => a * a / (2 * (s * w)) | Barrier => - (s * w) end.
Definition offset_of (p : program) (a : Q) : Q := match p with Allocation => - a | Pruning => 0 | Barrier => a end.
Definition power_of (p : program) (total : Q) : Q :=
  if Qeq_bool total 0 then 1 else match p with Pruning => total | _ => / total end.

Definition gradient (c : certificate) (l : layer) (v total : Q) : Q :=
  steepness_of (kind c) (strength c) (weight l) v + sign_of (kind c) * cost l * total.

Definition bound (l : layer) : option Q :=
  match stands l with Interior => None | Floor => Some (lower l) | Cap => upper l end.

(** (S, A): the optimum of the layer is (S q + A) / a. *)
Definition line (c : certificate) (l : layer) : Q * Q :=
  match bound l with
  | Some b => (0, cost l * b)
  | None => (rise_of (kind c) (strength c) (weight l) (cost l), offset_of (kind c) (cost l))
  end.

Definition optimum (c : certificate) (l : layer) (q : Q) : Q := (fst (line c l) * q + snd (line c l)) / cost l.

Definition below_cap (l : layer) (v : Q) : bool := match upper l with Some h => Qle_bool v h | None => true end.

Definition sound_data (c : certificate) (l : layer) : bool :=
  Qle_bool 0 (weight l) && less 0 (cost l) && Qle_bool 0 (lower l) && below_cap l (lower l) &&
  match kind c, upper l with
  | Allocation, _ => true
  | Pruning, Some h => Qle_bool h 1
  | Barrier, Some h => less h 1
  | _, None => false
  end.

Definition stationary_layer (c : certificate) (total q : Q) (l : layer) : outcome unit :=
  match stands l with
  | Interior =>
      let star := optimum c l q in
      need (less 0 total && less 0 (weight l) && Qle_bool (lower l) star && below_cap l star) Invalid "stationarity"
  | Floor => need (Qle_bool 0 (gradient c l (lower l) total)) Invalid "box multipliers"
  | Cap =>
      match upper l with
      | Some h => need (Qle_bool (gradient c l h total) 0) Invalid "box multipliers"
      | None => Fail Unreadable "cap"
      end
  end.

Fixpoint each {A} (f : A -> outcome unit) (l : list A) : outcome unit :=
  match l with [] => Ok tt | a :: rest => let* _ := f a in each f rest end.

Definition total_price (c : certificate) : Q := reduce (declared c + multiplier c).

Definition check_optimum (c : certificate) (total q : Q) : outcome unit :=
  let* _ := need (Qle_bool 0 (multiplier c)) Invalid "multiplier" in
  let* _ := each (stationary_layer c total q) (layers c) in
  let lines := map (line c) (layers c) in
  let spent := total_of (map fst lines) * q + total_of (map snd lines) in
  let* _ := need (Qle_bool 0 (sign_of (kind c) * (limit c - spent))) Invalid "primal feasibility" in
  need (Qeq_bool spent (limit c) || Qeq_bool (multiplier c) 0) Invalid "complementary slackness".

Definition off (c : certificate) (l : layer) (q1 q2 : Q) : Q :=
  largest (size_of (planned l - optimum c l q1)) (size_of (planned l - optimum c l q2)).

Definition steepest (c : certificate) (l : layer) (low high : Q) : Q :=
  largest (size_of (gradient c l (planned l) low)) (size_of (gradient c l (planned l) high)).

Definition near (c : certificate) (total q1 q2 : Q) (l : layer) : outcome unit :=
  let most := distance c * largest (planned l) 1 in
  let good := Qle_bool (off c l q1 q2) most && Qle_bool most (TOLERANCE * largest (planned l) 1) in
  need (good || (Qeq_bool (weight l) 0 && Qeq_bool total 0)) Invalid "distance".

Definition moved (l : layer) : Q :=
  cost l * (planned l + match bound l with Some b => if Qeq_bool (planned l) b then 0 else 1 | None => 1 end).

(** A price of fewer digits below the total price, and one above. *)
Definition bits (n : Z) : Z := if (n =? 0)%Z then 0%Z else (Z.log2 n + 1)%Z.

Definition about (total : Q) : Q * Q :=
  let scale := Z.shiftl 1 (Z.max 0 (256 + bits (Zpos (Qden total)) - bits (Qnum total))) in
  let n := (Qnum total * scale)%Z in
  let d := Zpos (Qden total) in
  (Qmake (n / d) (Z.to_pos scale), Qmake (- (- n / d)) (Z.to_pos scale)).

Definition between (low v high : Q) : bool := Qle_bool (smallest low high) v && Qle_bool v (largest low high).

Definition check_plan (c : certificate) (total q : Q) : outcome unit :=
  let* _ := need (forallb (fun l => Qle_bool (lower l) (planned l) && below_cap l (planned l)) (layers c))
    Invalid "box" in
  let excess := sign_of (kind c) * (total_of (map (fun l => cost l * planned l) (layers c)) - limit c) in
  let volume := TOLERANCE * limit c + ROUNDING * total_of (map moved (layers c)) in
  let* _ := need (Qle_bool excess (coupling c) && Qle_bool (coupling c) volume) Invalid "coupling" in
  let* _ := need (Qle_bool (size_of (claimed c - multiplier c)) (price c)
    && Qle_bool (price c) (TOLERANCE * total)) Invalid "price" in
  let (low, high) := about total in
  let q1 := power_of (kind c) low in
  let q2 := power_of (kind c) high in
  let* _ := need (Qle_bool low total && Qle_bool total high && between q1 q q2) Unreadable "total price" in
  let* _ := each (near c total q1 q2) (layers c) in
  let unused := (high - total + multiplier c) * largest (- excess) 0 in
  let terms := map (fun l => off c l q1 q2 * steepest c l low high) (layers c) in
  need (Qle_bool (inject_Z (ceilings GRID (unused :: terms))) (gap c * GRID)) Invalid "gap".

Definition check_layers (c : certificate) : outcome unit :=
  let* _ := need (less 0 (strength c) && Qle_bool 0 (declared c)) Unreadable "parameters" in
  let* _ := need (forallb (sound_data c) (layers c)) Unreadable "upper" in
  let total := total_price c in
  let q := power_of (kind c) total in
  let* _ := check_optimum c total q in
  check_plan c total q.
