(** A leaf of the proof of a choice: stages of multipliers and decisions, and why an accepted one leaves no choice. *)

From Coq Require Import ZArith QArith List String Lia.
From Zetaplan Require Import Vectors Sweep Json.
Import ListNotations.
Open Scope Z_scope.
Open Scope outcome_scope.

Definition OPTIONS := 100000.
Definition BUDGETS := 8.
Definition NODES := 100000.
Definition DIGITS := 4000.
Definition WORK := 20000000.

Definition toil (work amount : Z) : outcome Z :=
  let sum := work + amount in let* _ := need (sum <=? WORK) Unreadable "proof" in Ok sum.

Definition options (ms : list menu) : Z := fold_left (fun n m => n + size m) ms 0.

(** ** Multipliers *)

Definition multiplier (v : json) : outcome (Z * Z) :=
  match v with
  | JString text =>
      match (if shorter text DIGITS then quotient text else None) with
      | Some q => Ok q
      | None => Fail Unreadable "multipliers"
      end
  | _ => Fail Unreadable "multipliers"
  end.

(** A row of multipliers over one denominator, which comes last: the price of a unit of loss. *)
Definition prices_row (budgets : Z) (v : json) : outcome vec :=
  let* texts := as_list v "multipliers" budgets budgets in
  let* row := map_all multiplier texts in
  let below := fold_left (fun n q => Z.lcm n (snd q)) row 1 in
  Ok (map (fun q => Z.abs (fst q * (below / snd q))) row ++ [Z.abs below]).

Definition prices (budgets : Z) (stage : list (string * json)) : outcome (list vec) :=
  let* rows := as_list (get stage "multipliers") "multipliers" 1 8 in map_all (prices_row budgets) rows.

(** ** Striking off *)

Definition no_options (m : menu) : bool := match m with [] => true | _ => false end.

(** [None]: no choice keeps the limits. *)
Fixpoint strikes (rows : list vec) (limits : vec) (ms : list menu) (work : Z) : outcome (option (list menu) * Z) :=
  match rows with
  | [] => Ok (Some ms, work)
  | p :: rest =>
      let* work := toil work (options ms) in
      let room := spare p limits ms in
      if (room <? 0) || existsb no_options ms then Ok (None, work)
      else strikes rest limits (map (strike p room) ms) work
  end.

(** ** Units *)

Fixpoint gcds (a b : vec) : vec :=
  match a, b with
  | x :: a', y :: b' => Z.gcd x y :: gcds a' b'
  | _, _ => a
  end.

Definition units_of (n : nat) (ms : list menu) : vec :=
  let common := fold_left (fun u m => fold_left (fun u o => gcds u (sub o (first m))) m u) ms (repeat 0 n) in
  map (Z.max 1) common.

(** ** Stages *)

Fixpoint take (k : Z) (left : list (Z * menu)) : option (menu * list (Z * menu)) :=
  match left with
  | [] => None
  | (j, m) :: rest =>
      if j =? k then Some (m, rest)
      else match take k rest with Some (found, others) => Some (found, (j, m) :: others) | None => None end
  end.

Fixpoint take_all (order : list Z) (left : list (Z * menu)) : option (list menu * list (Z * menu)) :=
  match order with
  | [] => Some ([], left)
  | k :: rest =>
      match take k left with
      | Some (m, others) =>
          match take_all rest others with Some (ms, others) => Some (m :: ms, others) | None => None end
      | None => None
      end
  end.

Definition axes (n : nat) : list vec :=
  map (fun i => map (fun j => if Nat.eqb i j then 1 else 0) (seq 0 n)) (seq 0 n).

(** The partial choices after menu after menu; [goals]: tests, each with what is left for it. *)
Fixpoint run (one : bool) (goals : list (vec * Z)) (now : list menu) (states : list vec) (work : Z)
  : outcome (list vec * Z) :=
  match now with
  | [] => Ok (states, work)
  | m :: rest =>
      let goals := map (fun pg => (fst pg, snd pg + least (fst pg) m)) goals in
      let* work := toil work (size states * size m) in
      run one goals rest (prune one goals [] (extend states m)) work
  end.

Definition goals_of (tests : list vec) (limits : vec) (ms : list menu) : list (vec * Z) :=
  map (fun p => (p, dot p limits - leasts p ms)) tests.

Fixpoint run_stages (stages : list (list (string * json))) (count : Z) (limits u : vec) (left : list (Z * menu))
  (states : list vec) (work : Z) : outcome Z :=
  match stages with
  | [] => Fail Unreadable "proof"
  | stage :: rest =>
      let n := List.length u in
      let* items := as_list (get stage "decisions") "decisions" 0 count in
      let* order := map_all (fun v => index v "decisions" count) items in
      match take_all order left with
      | None => Fail Unreadable "decisions"
      | Some (taken, others) =>
          let (now, left) := match rest with [] => (taken ++ map snd others, []) | _ => (taken, others) end in
          let* rows := prices (Z.of_nat n - 1) stage in
          let tests := map (fun p => times p u) rows ++ axes n in
          let all := now ++ map snd left in
          let* work := toil work (size tests * options all) in
          let* (states, work) := run (Nat.eqb n 2) (goals_of tests limits all) now states work in
          match rest with
          | [] => let* _ := need (match states with [] => true | _ => false end) Invalid "optimality" in Ok work
          | _ => run_stages rest count limits u left states work
          end
      end
  end.

Fixpoint numbered {A} (k : Z) (l : list A) : list (Z * A) :=
  match l with [] => [] | a :: rest => (k, a) :: numbered (k + 1) rest end.

(** No choice from these menus stays within the limits. *)
Definition sweep (limits : vec) (ms : list menu) (leaf : json) (work : Z) : outcome Z :=
  let* items := as_list leaf "proof" 1 NODES in
  let* stages := map_all (fun v => keys v "proof" ["multipliers"; "decisions"]%string) items in
  let n := List.length limits in
  let* rows := prices (Z.of_nat n - 1) (hd [] stages) in
  let* (found, work) := strikes rows limits ms work in
  match found with
  | None => Ok work
  | Some ms =>
      let u := units_of n ms in
      let left := numbered 0 (map (shift u) ms) in
      run_stages stages (size ms) (per (sub limits (firsts ms)) u) u left [repeat 0 n] work
  end.

(** ** Soundness *)

Lemma map_onto_Forall {A B} (f : A -> outcome B) (P : B -> Prop) :
  (forall a b, f a = Ok b -> P b) -> forall l done out, Forall P done -> map_onto f done l = Ok out -> Forall P out.
Proof.
  intros H l. induction l as [|a l IH]; intros done out D E; cbn in E.
  - injection E as <-. unfold rev'. rewrite <- rev_alt. apply Forall_rev, D.
  - apply bind_ok in E as [b [K E]]. eapply IH; [|exact E]. constructor; [eauto|assumption].
Qed.

Lemma prices_nonneg budgets stage rows : prices budgets stage = Ok rows -> Forall nonneg rows.
Proof.
  unfold prices. intro H. apply bind_ok in H as [items [_ H]].
  eapply (map_onto_Forall (prices_row budgets) nonneg); [|constructor|exact H].
  clear. intros v row H. unfold prices_row in H. apply bind_ok in H as [texts [_ H]].
  apply bind_ok in H as [qs [_ H]]. injection H as <-. unfold nonneg. apply Forall_app. split.
  - apply Forall_map, Forall_forall. intros. lia.
  - constructor; [lia|constructor].
Qed.

Lemma strikes_sound rows limits : Forall nonneg rows -> forall ms work found work' t,
  strikes rows limits ms work = Ok (found, work') -> Sum ms t -> le t limits ->
  exists ms', found = Some ms' /\ Sum ms' t.
Proof.
  induction 1 as [|p rows good _ IH]; intros ms work found work' t E H K; cbn in E.
  - injection E as <- _. eauto.
  - apply bind_ok in E as [w [_ E]]. pose proof (dual_bound p limits ms t good H K) as D.
    destruct (spare p limits ms <? 0) eqn:N.
    { apply Z.ltb_lt in N. unfold spare in N. lia. }
    destruct (existsb no_options ms) eqn:X.
    { exfalso. apply existsb_exists in X as [[|o m] [X Y]]; [|discriminate].
      exact (no_choice_from_an_empty_menu ms t X H). }
    cbn in E. eapply IH; [exact E| |exact K]. now apply reduced_costs.
Qed.

Lemma units_of_positive n ms : positive_units (units_of n ms).
Proof. unfold units_of, positive_units. apply Forall_map, Forall_forall. intros. lia. Qed.

Lemma axes_nonneg n : Forall nonneg (axes n).
Proof.
  unfold axes, nonneg. apply Forall_map, Forall_forall. intros i _. apply Forall_map, Forall_forall. intros j _.
  destruct (Nat.eqb i j); lia.
Qed.

(** If a choice keeps the limits, one of the partial choices can be completed to such a choice. *)
Definition covered (limits : vec) (ms : list menu) (states : list vec) : Prop :=
  exists s, In s states /\ reaches limits ms s.

Definition fair (limits : vec) (ms : list menu) (goals : list (vec * Z)) : Prop :=
  Forall (fun pg => nonneg (fst pg) /\ snd pg = dot (fst pg) limits - leasts (fst pg) ms) goals.

Lemma within_goals limits ms goals s : fair limits ms goals -> reaches limits ms s -> within goals s = true.
Proof.
  intros F [t [H K]]. apply forallb_forall. intros [p g] I. unfold fair in F. rewrite Forall_forall in F.
  destruct (F _ I) as [good E]. cbn in *. apply Z.leb_le.
  pose proof (dot_le p good _ _ K) as L. rewrite dot_add in L. pose proof (weak_duality p ms t H). lia.
Qed.

Theorem run_sound one limits later now : forall goals states work states' work',
  fair limits (now ++ later) goals -> covered limits (now ++ later) states ->
  run one goals now states work = Ok (states', work') -> covered limits later states'.
Proof.
  induction now as [|m now IH]; intros goals states work states' work' F C E; cbn [run app] in *.
  - injection E as <- _. exact C.
  - apply bind_ok in E as [w [_ E]]. set (goals' := map _ goals) in E.
    assert (F' : fair limits (now ++ later) goals').
    { unfold fair, goals' in *. apply Forall_map. eapply Forall_impl; [|exact F].
      intros [p g] [good G]. cbn [fst snd] in *. rewrite leasts_cons in G. split; [exact good|lia]. }
    eapply IH; [exact F'| |exact E]. clear E.
    destruct C as [s [S' [t [H K]]]]. inversion H as [|o m' ms t' O T]; subst.
    assert (R : reaches limits (now ++ later) (add s o)).
    { exists t'. split; [assumption|]. intro i. specialize (K i). rewrite !entry_add in *. lia. }
    destruct (dominance one goals' (add s o) (extend states m) []) as [r [P D]].
    + now apply extend_In.
    + eapply within_goals; eassumption.
    + exists r. split; [exact P|]. destruct R as [t'' [H' K']]. exists t''. split; [assumption|].
      eapply le_trans; [|exact K']. now apply add_le; [|apply le_refl].
Qed.

Lemma take_sound k left : forall m others, take k left = Some (m, others) ->
  (forall p, leasts p (map snd left) = least p m + leasts p (map snd others)) /\
  (forall t, Sum (map snd left) t -> exists t', Sum (m :: map snd others) t' /\ eqv t t').
Proof.
  induction left as [|[j a] left IH]; intros m others E; cbn in E; [discriminate|].
  destruct (j =? k).
  - injection E as <- <-. split; [reflexivity|]. intros t H. exists t. split; [exact H|intro; reflexivity].
  - destruct (take k left) as [[m' others']|]; [|discriminate]. injection E as <- <-.
    destruct (IH m' others' eq_refl) as [L T]. split.
    + intro p. cbn [map snd]. rewrite !leasts_cons, L. lia.
    + intros t H. cbn [map snd] in *. inversion H as [|o a' ms t1 O H1]; subst.
      destruct (T t1 H1) as [t2 [H2 Q2]]. inversion H2 as [|o' m2 ms' t3 O' H3]; subst.
      exists (add o' (add o t3)). split; [now repeat constructor|].
      intro i. specialize (Q2 i). rewrite !entry_add in *. lia.
Qed.

Lemma take_all_sound order : forall left now others, take_all order left = Some (now, others) ->
  (forall p, leasts p (map snd left) = leasts p (now ++ map snd others)) /\
  (forall t, Sum (map snd left) t -> exists t', Sum (now ++ map snd others) t' /\ eqv t t').
Proof.
  induction order as [|k order IH]; intros left now others E; cbn in E.
  - injection E as <- <-. split; [reflexivity|]. intros t H. exists t. split; [exact H|intro; reflexivity].
  - destruct (take k left) as [[m rest]|] eqn:K; [|discriminate].
    destruct (take_all order rest) as [[ms others']|] eqn:A; [|discriminate]. injection E as <- <-.
    destruct (take_sound _ _ _ _ K) as [L T]. destruct (IH _ _ _ A) as [L' T']. split.
    + intro p. cbn [app]. rewrite leasts_cons, L, L'. reflexivity.
    + intros t H. destruct (T t H) as [t1 [H1 Q1]]. inversion H1 as [|o m' ms' t2 O H2]; subst.
      destruct (T' t2 H2) as [t3 [H3 Q3]]. exists (add o t3). split; [now constructor|].
      intro i. specialize (Q1 i). specialize (Q3 i). rewrite !entry_add in *. lia.
Qed.

Lemma reaches_taken limits s ms ms' :
  (forall t, Sum ms t -> exists t', Sum ms' t' /\ eqv t t') -> reaches limits ms s -> reaches limits ms' s.
Proof.
  intros T [t [H K]]. destruct (T t H) as [t' [H' E]]. exists t'. split; [assumption|].
  intro i. specialize (K i). specialize (E i). rewrite entry_add in *. lia.
Qed.

Lemma goals_fair tests limits ms : Forall nonneg tests -> fair limits ms (goals_of tests limits ms).
Proof. intro H. unfold fair, goals_of. apply Forall_map. eapply Forall_impl; [|exact H]. cbn. auto. Qed.

Theorem run_stages_sound count limits u : positive_units u -> forall stages left states work work',
  covered limits (map snd left) states -> run_stages stages count limits u left states work = Ok work' -> False.
Proof.
  intros good. induction stages as [|stage rest IH]; intros left states work work' C E; [discriminate|].
  cbn [run_stages] in E. apply bind_ok in E as [items [_ E]]. apply bind_ok in E as [order [_ E]].
  destruct (take_all order left) as [[taken others]|] eqn:A; [|discriminate].
  destruct (take_all_sound _ _ _ _ A) as [_ T].
  assert (C' : covered limits (taken ++ map snd others) states).
  { destruct C as [s [S' R]]. exists s. split; [assumption|]. eapply reaches_taken; [exact T|exact R]. }
  clear C T A. destruct rest as [|next rest].
  - apply bind_ok in E as [rows [P E]]. apply bind_ok in E as [w [_ E]]. apply bind_ok in E as [[states' w'] [R E]].
    apply bind_ok in E as [[] [N _]]. apply need_ok in N. destruct states'; [|discriminate].
    cbn [map snd] in R. rewrite app_nil_r in R.
    apply (run_sound _ limits []) in R; [destruct R as [s [[] _]]| |rewrite app_nil_r; exact C'].
    rewrite app_nil_r. apply goals_fair, Forall_app. split; [|apply axes_nonneg].
    apply prices_nonneg in P. apply Forall_map. eapply Forall_impl; [|exact P].
    intros p Hp. apply nonneg_times; [exact Hp|now apply nonneg_units].
  - apply bind_ok in E as [rows [P E]]. apply bind_ok in E as [w [_ E]]. apply bind_ok in E as [[states' w'] [R E]].
    eapply IH; [|exact E]. eapply run_sound; [|exact C'|exact R].
    apply goals_fair, Forall_app. split; [|apply axes_nonneg].
    apply prices_nonneg in P. apply Forall_map. eapply Forall_impl; [|exact P].
    intros p Hp. apply nonneg_times; [exact Hp|now apply nonneg_units].
Qed.

Lemma map_snd_numbered {A} (l : list A) : forall k, map snd (numbered k l) = l.
Proof. induction l as [|a l IH]; intro k; cbn; [reflexivity|]. now rewrite IH. Qed.

Theorem sweep_sound limits ms leaf work work' t :
  sweep limits ms leaf work = Ok work' -> Sum ms t -> le t limits -> False.
Proof.
  intros E H K. unfold sweep in E. apply bind_ok in E as [items [_ E]]. apply bind_ok in E as [stages [_ E]].
  apply bind_ok in E as [rows [P E]]. apply bind_ok in E as [[found w] [F E]].
  destruct (strikes_sound rows limits (prices_nonneg _ _ _ P) _ _ _ _ t F H K) as [ms' [-> H']].
  pose proof (units_of_positive (List.length limits) ms') as good.
  destruct (units _ _ _ _ good H' K) as [t' [S' L]].
  eapply run_stages_sound; [exact good| |exact E]. rewrite map_snd_numbered.
  eexists. split; [left; reflexivity|]. exists t'. split; [exact S'|].
  intro i. rewrite entry_add. specialize (L i). unfold entry at 1.
  assert (Z0 : nth i (repeat 0 (List.length limits)) 0 = 0).
  { destruct (nth_in_or_default i (repeat 0 (List.length limits)) 0) as [I|I]; [|exact I].
    now apply repeat_spec in I. }
  lia.
Qed.
